//! Annotations in formats that are not read: YOLO, Pascal VOC and CVAT. They tell which images have defects, and their shapes are not read.

use std::path::Path;

use super::divide::marks_no_defect;
use super::files::bytes;
use crate::image_name::has_ending;

/// The largest file that is looked at, in bytes.
const MOST: u64 = 16 << 20;

/// A format of annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    /// A text for each image: lines of a class and numbers.
    Yolo,
    /// An XML file for each image, with objects.
    PascalVoc,
    /// An XML file that lists images with shapes.
    Cvat,
}

impl Format {
    /// Returns the name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Yolo => "YOLO",
            Self::PascalVoc => "Pascal VOC",
            Self::Cvat => "CVAT",
        }
    }
}

/// The objects that a file marks.
pub(super) struct Marked {
    pub(super) format: Format,
    /// The image that the file names, or nothing if its own name tells the image, and the label of the object: a number in YOLO's. Words
    /// for normal images are left out.
    pub(super) objects: Vec<(Option<String>, String)>,
}

/// Returns what a file in one of these formats marks.
pub(super) fn marked(file: &Path) -> Option<Marked> {
    let is_small = || std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= MOST);
    if !has_ending(file, &["txt", "xml"]) || !is_small() {
        return None;
    }
    let text = String::from_utf8_lossy(&bytes(file).ok()?).into_owned();
    let (format, mut objects) = if has_ending(file, &["txt"]) {
        (Format::Yolo, of_yolo(&text)?)
    } else if text.contains("<annotations") && text.contains("<image") {
        (Format::Cvat, of_cvat(&text))
    } else if text.contains("<object") {
        let labels =
            text.split("<object").skip(1).map(|object| between(object, "<name>", "</name>").unwrap_or_default());
        (Format::PascalVoc, labels.map(|label| (None, unescaped(label))).collect())
    } else {
        return None;
    };
    objects.retain(|(_, label)| !marks_no_defect(label));
    Some(Marked { format, objects })
}

/// Returns the objects of a text of YOLO: the class of each line, with four or more numbers.
fn of_yolo(text: &str) -> Option<Vec<(Option<String>, String)>> {
    let class = |line: &str| {
        let mut values = line.split_ascii_whitespace();
        let class = values.next().filter(|class| class.parse::<u32>().is_ok())?;
        let numbers: Vec<Option<f64>> = values.map(|value| value.parse().ok()).collect();
        (numbers.len() >= 4 && numbers.iter().all(Option::is_some)).then(|| (None, class.to_string()))
    };
    let found: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(class).collect::<Option<_>>()?;
    (!found.is_empty()).then_some(found)
}

/// Returns the objects of an XML file of CVAT: the shapes and tags in each image.
fn of_cvat(text: &str) -> Vec<(Option<String>, String)> {
    let of_image = |image: &str| {
        // An image without shapes has no end of its own.
        let image = image.split_once("</image>").map_or(image, |(image, _)| image).to_string();
        let name = attribute(image.split('>').next().unwrap_or_default(), "name").map(unescaped)?;
        let labels = image.split('<').skip(1).filter_map(|tag| attribute(tag, "label").map(unescaped));
        Some(labels.map(move |label| (Some(name.clone()), label)).collect::<Vec<_>>())
    };
    text.split("<image ").skip(1).filter_map(of_image).flatten().collect()
}

/// Returns the text between two others.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0.trim())
}

/// Returns the value of an attribute of a tag.
fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    ['"', '\''].into_iter().find_map(|quote| {
        let value = format!("{name}={quote}");
        let at = tag
            .match_indices(&value)
            .map(|(at, _)| at)
            .find(|at| tag[..*at].ends_with(char::is_whitespace) || *at == 0)?;
        tag.get(at + value.len()..)?.split(quote).next()
    })
}

/// Returns a text of XML with its characters in place of their names.
fn unescaped(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    named.iter().fold(text.trim().to_string(), |text, (name, character)| text.replace(name, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let found = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            let Marked { format, objects } = marked(&file)?;
            let objects: Vec<String> =
                objects.into_iter().map(|(image, label)| format!("{}:{label}", image.unwrap_or_default())).collect();
            Some(format!("{} {}", format.name(), objects.join(" ")))
        };
        for (name, text, expected) in [
            ("a.txt", "0 .5 .5 .2 .2\n\n3 1 0 1 0 1 0\n", "YOLO :0 :3"),
            (
                "a.xml",
                "<annotation><object><name>dent</name></object><object><name>ok</name></object></annotation>",
                "Pascal VOC :dent",
            ),
            (
                "a.xml",
                "<annotations><image id=\"0\" name=\"a&amp;b.png\" width=\"8\">\n<box label=\"big dent\" xtl=\"1\"></box>\
                 <tag label='good'></tag></image><image id=\"1\" name=\"c.png\"/><image name='d.png'><mask label='hole'/></image>\
                 </annotations>",
                "CVAT a&b.png:big dent d.png:hole",
            ),
            ("a.xml", "<annotations><image name=\"a.png\"></image></annotations>", "CVAT "),
        ] {
            assert_eq!(found(name, text).as_deref(), Some(expected), "{text}");
        }
        for (name, text) in [
            ("a.txt", ""),
            ("a.txt", "lens 5, lamp 2\n"),
            ("a.txt", "0 1 2\n"),
            ("a.xml", "<annotation/>"),
            ("a.xml", "<<image name=\"<image \"<annotation"),
            ("a.csv", "0 1 2 3 4\n"),
        ] {
            assert_eq!(found(name, text), None, "{text}");
        }
    }
}
