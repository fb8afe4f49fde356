//! Files as PyTorch writes them.

use super::File;

/// Returns a zip archive of uncompressed files.
pub(crate) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (at, length) = ((bytes.len() as u32).to_le_bytes(), (content.len() as u32).to_le_bytes());
        let name_length = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time and date, checksum (0: it is not needed), sizes, and the lengths of name and extra field.
        let common =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &length, &length, &name_length, &[0, 0]].concat();
        bytes.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let (at, size) = ((bytes.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    [bytes, directory, [b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &at, &[0, 0]].concat()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn integer(value: usize) -> Vec<u8> {
    [b"J", &(value as u32).to_le_bytes()[..]].concat()
}

/// Returns the pickle of a dictionary of dictionaries of tensors, and the storages of the tensors, which are in f32.
fn pickle(parts: &[(&str, &File)]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut out, mut storages) = (b"\x80\x02}".to_vec(), Vec::new());
    for (part, file) in parts {
        if !part.is_empty() {
            out.extend([text(part), b"}".to_vec()].concat());
        }
        for (key, raw) in *file {
            let mut strides = vec![1; raw.shape.len()];
            for axis in (1..raw.shape.len()).rev() {
                strides[axis - 1] = strides[axis] * raw.shape[axis];
            }
            let tuple = |sizes: &[usize]| {
                [b"(".to_vec(), sizes.iter().flat_map(|&size| integer(size)).collect(), b"t".to_vec()].concat()
            };
            let count = raw.shape.iter().product();
            out.extend([text(key), b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(), text("storage")].concat());
            out.extend([b"ctorch\nFloatStorage\n".to_vec(), text(&storages.len().to_string()), text("cpu")].concat());
            out.extend([integer(count), b"tQK\0".to_vec(), tuple(&raw.shape), tuple(&strides)].concat());
            out.extend(b"\x89ccollections\nOrderedDict\n)RtRs");
            storages.push(raw.bytes.clone());
        }
        if !part.is_empty() {
            out.push(b's');
        }
    }
    out.push(b'.');
    (out, storages)
}

/// Returns what `torch.save` writes of a dictionary of state dicts. A part with an empty name is at the top.
pub(crate) fn saved(parts: &[(&str, &File)]) -> Vec<u8> {
    let (pickle, storages) = pickle(parts);
    let mut files = vec![("archive/data.pkl".to_owned(), pickle), ("archive/byteorder".to_owned(), b"little".to_vec())];
    let storages = storages.into_iter().enumerate();
    files.extend(storages.map(|(index, bytes)| (format!("archive/data/{index}"), bytes)));
    archive(&files)
}
