//! The compressed run lengths of COCO.

/// Decodes run lengths from COCO's text. Each length is a number in groups of 5 bits, the low group first, with a sign; from
/// the fourth length on, it is the difference to the length before the last.
pub(super) fn decode(text: &str) -> Result<Vec<u32>, String> {
    let mut lengths: Vec<u32> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(mut byte) = bytes.next() {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let group = byte.wrapping_sub(48);
            if group > 63 || shift > 30 {
                return Err("compressed run lengths are damaged; export the annotations again".into());
            }
            value |= i64::from(group & 31) << shift;
            shift += 5;
            if group & 32 == 0 {
                if group & 16 != 0 {
                    value -= 1 << shift;
                }
                break;
            }
            byte = bytes.next().ok_or("compressed run lengths end in the middle; export the annotations again")?;
        }
        if lengths.len() > 2 {
            value += i64::from(lengths[lengths.len() - 2]);
        }
        lengths.push(u32::try_from(value).map_err(|_| format!("a run has the length {value}"))?);
    }
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes like `rleToString` of pycocotools.
    fn encode(lengths: &[u32]) -> String {
        let mut text = String::new();
        for (index, &length) in lengths.iter().enumerate() {
            let before = if index > 2 { i64::from(lengths[index - 2]) } else { 0 };
            let mut value = i64::from(length) - before;
            loop {
                let group = (value & 31) as u8;
                value >>= 5;
                let more = if group & 16 != 0 { value != -1 } else { value != 0 };
                text.push(char::from(group + 48 + if more { 32 } else { 0 }));
                if !more {
                    break;
                }
            }
        }
        text
    }

    #[test]
    fn lengths_are_decoded() {
        // The example of pycocotools: a mask of 9 x 10 pixels.
        for lengths in [vec![], vec![0], vec![6, 1, 40, 4, 5, 4, 5, 4, 21], vec![0, 100_000, 3, 2, 70_000, 1, u32::MAX]]
        {
            assert_eq!(decode(&encode(&lengths)).unwrap(), lengths);
        }
        assert_eq!(encode(&[6, 1, 40, 4, 5, 4, 5, 4, 21]), "61X13mN000`0");
        for damaged in ["\u{7f}", " ", "P", "PPPPPPPPPPPPPPPP0", "O", "é"] {
            assert!(decode(damaged).is_err(), "{damaged}");
        }
    }
}
