//! Notes of what `watch` does not inspect, each once.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use dualad::data::is_other_image_name;

/// The number of subfolders, and of endings, that are named. The others are not.
const MAX_NAMED: usize = 20;

/// The notes of a watched folder.
#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
    /// A folder that is not named.
    out: Option<PathBuf>,
    /// The subfolders and endings that were named.
    named: HashSet<OsString>,
    /// The kinds of things with an image's name, other than files, that were named.
    kinds: HashSet<&'static str>,
    /// The notes that are not printed yet.
    waiting: Vec<String>,
}

impl Notes {
    pub(super) fn new(folder: &Path, out: Option<&Path>) -> Self {
        Self {
            folder: folder.into(),
            out: out.and_then(|out| out.canonicalize().ok()),
            named: HashSet::new(),
            kinds: HashSet::new(),
            waiting: Vec::new(),
        }
    }

    /// Returns the notes that were not returned before.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.waiting)
    }

    /// Notes the number of images that are left out because the journal is new. `journal` is its path.
    pub(super) fn skipped(&mut self, count: usize, journal: Option<&Path>) {
        // An earlier journal may have been deleted.
        let missing = |path: &Path| {
            format!("there is no journal at {}, so it is not known which images were inspected: ", path.display())
        };
        let missing = journal.map(missing).unwrap_or_default();
        match count {
            0 => {}
            1 => self
                .waiting
                .push(format!("note: {missing}1 image that is here already is left out; --existing inspects it")),
            _ => self.waiting.push(format!(
                "note: {missing}{count} images that are here already are left out; --existing inspects them"
            )),
        }
    }

    pub(super) fn name_folder(&mut self, path: &Path) {
        if self.out.is_some() && path.canonicalize().ok() == self.out {
            return;
        }
        let text = format!("note: {} is a subfolder, and is not watched; watch it by itself", path.display());
        self.name(path.as_os_str(), text);
    }

    pub(super) fn name_ending(&mut self, name: &OsStr) {
        let path = Path::new(name);
        if let Some(ending) = path.extension().filter(|_| is_other_image_name(path)) {
            let text = format!(
                "note: images whose names end in .{} are not inspected, such as {}; convert them to png",
                ending.display(),
                path.display()
            );
            self.name(&ending.to_ascii_lowercase(), text);
        }
    }

    /// Notes files without an ending in their names: their number, and one of them.
    pub(super) fn name_without_ending(&mut self, count: usize, name: &OsStr) {
        let text = format!(
            "note: files without an ending in their names are not inspected: {count} (such as {}); if they are images, add the ending of \
             their format, such as .png",
            name.display()
        );
        self.name(OsStr::new(""), text);
    }

    /// Notes something that is no file and has an image's name, once for each kind.
    pub(super) fn name_kind(&mut self, name: &OsStr) {
        let path = self.folder.join(name);
        // It may be removed by now.
        let Some(kind) = kind(&path) else { return };
        if self.kinds.insert(kind) {
            let text = format!("note: {} is {kind}, and is not inspected; nor are others like it", path.display());
            self.waiting.push(text);
        }
    }

    /// Notes something, once and for a limited number of things.
    fn name(&mut self, thing: &OsStr, text: String) {
        if self.named.len() > MAX_NAMED || !self.named.insert(thing.to_owned()) {
            return;
        }
        self.waiting.push(if self.named.len() > MAX_NAMED {
            "note: there are more subfolders or endings of images like these".into()
        } else {
            text
        });
    }
}

/// Returns the kind of something that is no file; `None` for a file, and if there is nothing.
fn kind(path: &Path) -> Option<&'static str> {
    let found = std::fs::symlink_metadata(path).ok()?.file_type();
    let Ok(metadata) = std::fs::metadata(path) else {
        return Some(if found.is_symlink() { "a broken link" } else { "a file that cannot be opened" });
    };
    let kind = metadata.file_type();
    if kind.is_file() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_block_device() || kind.is_char_device() {
            return Some("a device");
        }
    }
    Some(if kind.is_dir() { "a link to a folder" } else { "no file" })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::journal::Journal;
    use super::super::scan::Scan;
    use super::*;

    fn scan(folder: &Path) -> Scan {
        Scan::new(folder, Journal::default(), true, true, Duration::ZERO, None).unwrap()
    }

    #[test]
    fn images_that_are_left_out_at_the_first_start_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let start = |existing: bool| {
            let (journal, existed) = Journal::open(&path, folder.path()).unwrap();
            let skip = !existed && !existing;
            Scan::new(folder.path(), journal, skip, !existing, Duration::ZERO, None).unwrap().notes.take()
        };
        assert!(start(false).is_empty());
        for name in ["a.png", "b.png", "c.txt"] {
            std::fs::write(folder.path().join(name), "1").unwrap();
        }
        assert!(start(false).is_empty(), "the journal is there");
        std::fs::remove_file(&path).unwrap();
        let text = format!(
            "note: there is no journal at {}, so it is not known which images were inspected: 2 images that are here already are left out; --existing inspects them",
            path.display()
        );
        assert_eq!(start(false), [text]);
        assert!(start(false).is_empty());
        std::fs::remove_file(&path).unwrap();
        assert!(start(true).is_empty());
        // The journal of another program's run would be a file like any other.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            scan(folder.path()).notes.take(),
            ["note: 2 images that are here already are left out; --existing inspects them"]
        );
        std::fs::remove_file(folder.path().join("a.png")).unwrap();
        assert!(scan(folder.path()).notes.take()[0].contains("1 image that is"));
    }

    #[cfg(unix)]
    #[test]
    fn links_sockets_and_devices_are_named_once_for_each_kind() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for number in 0..30 {
            symlink("/no/where.png", path(&format!("broken-{number}.png"))).unwrap();
            symlink("/dev/null", path(&format!("device-{number}.png"))).unwrap();
        }
        symlink("loop.png", path("loop.png")).unwrap();
        symlink("/", path("folder.png")).unwrap();
        symlink("/", path("root")).unwrap();
        symlink("/no/where", path("notes.txt")).unwrap();
        let _socket = UnixListener::bind(path("socket.png")).unwrap();
        std::fs::write(path("a.png"), "1").unwrap();
        symlink("a.png", path("b.png")).unwrap();
        let mut scan = scan(folder.path());
        let notes = scan.notes.take().join("\n");
        for words in ["is a broken link", "is a device", "is a link to a folder", "is a socket"] {
            assert_eq!(notes.matches(words).count(), 1, "{words}: {notes}");
        }
        assert!(notes.contains("root is a subfolder") && notes.contains("2 images"), "{notes}");
        assert_eq!(notes.lines().count(), 6, "{notes}");
        scan.look().unwrap();
        assert!(scan.notes.take().is_empty());
    }

    #[test]
    fn files_without_an_ending_are_noted_once_with_their_number() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["frame", "frame_2", "a.png", ".hidden"] {
            std::fs::write(folder.path().join(name), "1").unwrap();
        }
        let mut scan = scan(folder.path());
        let notes = scan.notes.take();
        let [note] = notes.iter().filter(|note| note.contains("ending")).collect::<Vec<_>>()[..] else {
            panic!("{notes:?}")
        };
        assert!(note.contains("not inspected: 2 (such as frame"), "{note}");
        std::fs::write(folder.path().join("frame_3"), "1").unwrap();
        scan.list().unwrap();
        assert!(scan.notes.take().is_empty());
    }

    #[test]
    fn subfolders_and_other_images_are_named_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("night")).unwrap();
        let mut scan = scan(folder.path());
        assert!(scan.notes.take()[0].contains("night is a subfolder"));
        std::fs::write(folder.path().join("a.heic"), "").unwrap();
        let begun = Instant::now();
        let notes = loop {
            scan.look().unwrap();
            let notes = scan.notes.take();
            if !notes.is_empty() {
                break notes;
            }
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(notes.len() == 1 && notes[0].contains("names end in .heic"), "{notes:?}");
        std::fs::write(folder.path().join("b.heic"), "").unwrap();
        for number in 0..40 {
            std::fs::create_dir(folder.path().join(format!("{number}"))).unwrap();
        }
        let mut notes = Vec::new();
        for _ in 0..200 {
            scan.look().unwrap();
            notes.extend(scan.notes.take());
            std::thread::sleep(Duration::from_millis(1));
        }
        // The subfolder and the ending were named before, and the last note is of those that are not.
        assert_eq!(notes.len(), MAX_NAMED - 1, "{notes:?}");
        assert!(
            !notes.iter().any(|note| note.contains(".heic")) && notes.last().unwrap().contains("more"),
            "{notes:?}"
        );
    }
}
