use super::*;

/// Returns the stamp of a file in a journal of an earlier version.
fn stamp(length: u64) -> Stamp {
    serde_json::from_value(serde_json::json!({ "length": length, "modified": 7 })).unwrap()
}

fn entry(length: u64, state: State, number: u64) -> Entry {
    Entry { stamp: stamp(length), state, number, content: None }
}

#[test]
fn entries_are_read_again_and_a_cut_line_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let open = || Journal::open(&path, folder.path());
    let (mut journal, existed) = open().unwrap();
    assert!(!existed && open().unwrap_err().contains("another program uses it"));
    for (name, entry) in [
        ("a", entry(1, State::Done, 1)),
        ("a", entry(2, State::Begun, 2)),
        ("b", entry(1, State::Begun, 2)),
        ("c", entry(1, State::Skipped, 0)),
    ] {
        journal.add(OsStr::new(name), entry);
    }
    journal.write().unwrap();
    drop(journal);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text += r#"{"image": "d", "len"#;
    std::fs::write(&path, &text).unwrap();
    let (mut journal, existed) = open().unwrap();
    assert!(existed);
    let stamp = entry(1, State::Done, 0).stamp;
    let is_done = |journal: &Journal, name: &str, skipped| journal.is_done(OsStr::new(name), stamp, skipped);
    assert_eq!(["a", "b", "c", "d"].map(|name| is_done(&journal, name, true)), [false, false, true, false]);
    let begun: Vec<String> = journal.begun().into_iter().map(|(image, _)| image).collect();
    assert_eq!(begun, ["a", "b"]);
    assert!(!is_done(&journal, "c", false));
    assert_eq!(journal.entry(OsStr::new("a")).unwrap().number, 2);
    journal.add(OsStr::new("d"), entry(1, State::Done, 1));
    journal.write().unwrap();
    drop(journal);
    assert!(is_done(&open().unwrap().0, "d", false));

    // Another folder's journal, and files that are none.
    let other = tempfile::tempdir().unwrap();
    let error = Journal::open(&path, other.path()).unwrap_err();
    assert!(error.contains("it is that of the folder") && error.contains("--journal"), "{error}");
    for content in ["a".repeat(MAX_LINE as usize), "no journal".into(), "no journal\n{}\n".into(), "\0\0a\n".into()] {
        std::fs::write(&path, &content).unwrap();
        let error = open().unwrap_err();
        assert!(error.contains("it is no journal") && error.contains("--existing"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    // Emptied, or cut where the first line was being written: it is not known what was inspected.
    for length in [0, 20] {
        std::fs::write(&path, &text[..length]).unwrap();
        let (journal, existed) = open().unwrap();
        let damage = journal.damage.clone().unwrap();
        assert!(existed && damage.contains("is empty") && damage.contains("inspected again"), "{damage}");
        drop(journal);
        assert!(open().unwrap().0.damage.is_none());
    }
}

/// A journal may be a link into another folder. One that takes its place later leads to something else.
#[cfg(unix)]
#[test]
fn a_link_is_followed_and_what_takes_the_journals_place_is_kept() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let [path, real, other] = ["journal", "real", "other"].map(|name| folder.path().join(name));
    std::fs::write(&real, "").unwrap();
    symlink(&real, &path).unwrap();
    let (mut journal, _) = Journal::open(&path, folder.path()).unwrap();
    journal.add(OsStr::new("a"), entry(1, State::Done, 1));
    journal.write().unwrap();
    File::options().write(true).open(&real).unwrap().set_len(0).unwrap();
    journal.write().unwrap();
    assert!(std::fs::read_to_string(&real).unwrap().contains(r#""a""#));
    assert!(path.is_symlink() && !real.is_symlink());
    for link in [true, false] {
        std::fs::remove_file(&real).unwrap();
        std::fs::write(&other, "mine").unwrap();
        match link {
            true => symlink(&other, &real).unwrap(),
            false => std::fs::write(&real, "mine").unwrap(),
        }
        journal.add(OsStr::new("b"), entry(1, State::Done, 1));
        let error = journal.write().unwrap_err();
        assert!(error.contains("real") && error.contains("in its place"), "{error}");
        assert_eq!([&real, &other].map(|path| std::fs::read_to_string(path).unwrap()), ["mine"; 2]);
    }
    std::fs::remove_file(&real).unwrap();
    journal.write().unwrap();
    drop(journal);
    let (journal, existed) = Journal::open(&path, folder.path()).unwrap();
    assert!(existed && journal.damage.is_none() && journal.len() == 2);
    std::fs::remove_file(&real).unwrap();
    drop(journal);
    assert!(Journal::open(&path, folder.path()).unwrap_err().contains("leads nowhere"));
}

#[test]
fn damaged_lines_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let open = || Journal::open(&path, folder.path()).unwrap();
    let (mut journal, _) = open();
    for name in ["a", "b", "c"] {
        journal.add(OsStr::new(name), entry(1, State::Done, 1));
    }
    journal.write().unwrap();
    drop(journal);
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let [head, a, b, c] = lines.as_slice() else { panic!("{whole}") };
    let long = format!("{}\n", "x".repeat(3 * MAX_LINE as usize));
    for (text, names, said) in [
        (format!("{a}{b}{c}"), "abc", "the beginning of the journal"),
        (format!("{}{b}{c}", &head[7..]), "bc", "skipped 1 damaged line "),
        (format!("{}{c}", &b[7..]), "c", "skipped 1 damaged line "),
        (format!("{head}{a}{}{c}", &b[..9]), "a", "skipped 1 damaged line "),
        (format!("{head}{a}\u{fffd}\n{{}}\n{c}"), "ac", "skipped 2 damaged lines "),
        (format!("{head}{a}{long}{c}{}", &b[..9]), "ac", "skipped 1 damaged line "),
        (format!("\0\0\0{b}{c}"), "bc", "the beginning of the journal"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let (mut journal, existed) = open();
        let damage = journal.damage.clone().unwrap();
        assert!(existed && damage.contains(said) && damage.contains("journal"), "{damage}: {text}");
        let found = ["a", "b", "c"].into_iter().filter(|name| journal.entry(OsStr::new(name)).is_some());
        assert_eq!(found.collect::<String>(), names, "{text}");
        journal.add(OsStr::new("d"), entry(1, State::Done, 1));
        journal.write().unwrap();
        drop(journal);
        // It is whole again.
        let (journal, existed) = open();
        assert!(existed && journal.damage.is_none() && journal.entry(OsStr::new("d")).is_some(), "{text}");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(head));
    }
}

/// A power failure may leave a file of its length without its content.
#[test]
fn a_journal_of_zeros_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for length in [1, 2, 1000, MAX_LINE as usize, 3 * MAX_LINE as usize + 5] {
        for end in ["", "\n"] {
            std::fs::write(&path, "\0".repeat(length) + end).unwrap();
            let (mut journal, existed) = Journal::open(&path, folder.path()).unwrap();
            let damage = journal.damage.clone().unwrap();
            assert!(existed && damage.contains("zeros only") && damage.contains("inspected again"), "{damage}");
            journal.add(OsStr::new("a"), entry(1, State::Done, 1));
            journal.write().unwrap();
            drop(journal);
            let (journal, existed) = Journal::open(&path, folder.path()).unwrap();
            assert!(existed && journal.damage.is_none() && journal.len() == 1, "{length}");
        }
    }
    // With something else, it may be no journal at all.
    let other = "\0".repeat(3 * MAX_LINE as usize) + "a";
    std::fs::write(&path, &other).unwrap();
    assert!(Journal::open(&path, folder.path()).unwrap_err().contains("it is no journal"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
}

#[cfg(unix)]
#[test]
fn a_journal_that_is_replaced_before_it_is_locked_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    std::fs::write(&path, "old").unwrap();
    let opened = std::cell::Cell::new(0);
    let file = lock_opened(&path, || {
        let file = open_alone(File::options().read(true).append(true), &path);
        if opened.replace(opened.get() + 1) == 0 {
            write_atomically(&path, b"new").unwrap();
        }
        file
    });
    let mut text = String::new();
    file.unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), opened.get()), ("new", 2));
    let replaced = lock_opened(&path, || {
        let file = open_alone(File::options().read(true), &path);
        write_atomically(&path, b"newer").unwrap();
        file
    });
    assert!(replaced.unwrap_err().contains("replaces it"));
}

/// A program that rotates logs copies the file, and cuts it while it is open.
#[test]
fn a_journal_that_is_cut_while_it_is_open_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::open(&path, folder.path()).unwrap();
    journal.add(OsStr::new("a"), entry(1, State::Done, 1));
    journal.write().unwrap();
    for length in [0, 30] {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        journal.write().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains(r#""a""#), "{length}");
        file.set_len(length).unwrap();
        journal.add(OsStr::new("b"), entry(1, State::Done, 1));
        journal.write().unwrap();
    }
    drop(journal);
    let (journal, _) = Journal::open(&path, folder.path()).unwrap();
    assert!(journal.damage.is_none() && journal.len() == 2);
}

#[test]
fn the_oldest_files_that_are_gone_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let open = || Journal::open(&path, folder.path()).unwrap().0;
    let mut journal = open();
    for name in ["a", "b", "c", "d", "a"] {
        journal.add(OsStr::new(name), entry(1, State::Done, 1));
    }
    let names = |journal: &Journal| ["a", "b", "c", "d"].map(|name| journal.entry(OsStr::new(name)).is_some());
    journal.forget(["b"].map(OsStr::new).into_iter(), 2);
    assert_eq!((journal.len(), names(&journal)), (3, [true, true, false, true]));
    journal.write().unwrap();
    // Moved away, and written again in the order of the entries.
    std::fs::rename(&path, folder.path().join("away")).unwrap();
    journal.add(OsStr::new("b"), entry(2, State::Done, 2));
    journal.write().unwrap();
    drop(journal);
    let mut journal = open();
    assert_eq!(names(&journal), [true, true, false, true]);
    journal.forget(std::iter::empty(), 1);
    assert_eq!((names(&journal), journal.entry(OsStr::new("b")).unwrap().number), ([false, true, false, false], 2));
}

#[test]
fn a_long_journal_is_shortened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (mut journal, _) = Journal::open(&path, folder.path()).unwrap();
    for number in 0..MAX_SUPERSEDED as u64 + 10 {
        journal.add(OsStr::new("current.png"), entry(number, State::Done, number));
    }
    let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
    journal.write().unwrap();
    assert_eq!(lines(), 2);
    journal.add(OsStr::new("current.png"), entry(7, State::Done, MAX_SUPERSEDED as u64 + 9));
    journal.write().unwrap();
    assert_eq!(lines(), 3);
    drop(journal);
    for _ in 0..2 {
        let (mut journal, _) = Journal::open(&path, folder.path()).unwrap();
        assert_eq!(journal.entry(OsStr::new("current.png")).unwrap().number, MAX_SUPERSEDED as u64 + 9);
        assert!(lines() < 6);
        journal.add(OsStr::new("other.png"), entry(1, State::Done, 1));
        journal.write().unwrap();
    }
}
