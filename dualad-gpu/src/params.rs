//! Kernel parameters: Rust structs with the fields of the structs in `kernels/*.cu`, passed to a kernel as 32-bit words.
//!
//! A test beside each operation compares the names, the order and the types of the fields with the kernel source.

use candle_core::Result;

/// The largest number of 32-bit words that a kernel's parameters take.
pub(crate) const WORDS: usize = 16;

/// The parameters of a kernel as words, in the order of the fields; the words past the last field are 0.
pub(crate) trait Params {
    fn words(&self) -> [u32; WORDS];
}

/// A field of [`Params`].
pub(crate) trait Field {
    /// The field's type in a kernel source, and its number of elements.
    #[cfg(test)]
    const KERNEL_TYPE: (&'static str, usize);

    fn append_to(self, words: &mut Vec<u32>);
}

impl Field for u32 {
    #[cfg(test)]
    const KERNEL_TYPE: (&'static str, usize) = ("u32", 1);

    fn append_to(self, words: &mut Vec<u32>) {
        words.push(self);
    }
}

impl Field for f32 {
    #[cfg(test)]
    const KERNEL_TYPE: (&'static str, usize) = ("float", 1);

    fn append_to(self, words: &mut Vec<u32>) {
        words.push(self.to_bits());
    }
}

impl<const N: usize> Field for [u32; N] {
    #[cfg(test)]
    const KERNEL_TYPE: (&'static str, usize) = ("u32", N);

    fn append_to(self, words: &mut Vec<u32>) {
        words.extend(self);
    }
}

/// Defines a struct of kernel parameters with the name and the fields of the struct in the kernel source.
macro_rules! params {
    (struct $name:ident { $($field:ident: $kind:ty,)+ }) => {
        #[derive(Debug, Clone, Copy, Default)]
        struct $name { $($field: $kind,)+ }

        impl $crate::params::Params for $name {
            fn words(&self) -> [u32; $crate::params::WORDS] {
                const { assert!(size_of::<$name>() <= 4 * $crate::params::WORDS) };
                let mut fields = Vec::with_capacity($crate::params::WORDS);
                $($crate::params::Field::append_to(self.$field, &mut fields);)+
                let mut words = [0; $crate::params::WORDS];
                words[..fields.len()].copy_from_slice(&fields);
                words
            }
        }

        #[cfg(test)]
        impl $name {
            /// Panics unless the kernel source declares a struct with the same name, fields and types.
            fn assert_matches(source: $crate::source::Source) {
                let fields = [$((stringify!($field), <$kind as $crate::params::Field>::KERNEL_TYPE)),+];
                $crate::params::tests::assert_fields(source.text(), stringify!($name), &fields);
            }
        }
    };
}
pub(crate) use params;

/// A size as a kernel takes it.
pub(crate) fn size(value: usize) -> Result<u32> {
    match u32::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => candle_core::bail!("a size of {value} is beyond the 32 bits of a GPU kernel: use smaller batches"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The declarations of a struct in a kernel source: each field's name, type and number of elements.
    fn declared_fields(text: &str, name: &str) -> Vec<(String, (String, usize))> {
        let body = text.split_once(&format!("struct {name} {{")).unwrap().1.split_once("};").unwrap().0;
        let constant = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("#define {name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let mut fields = Vec::new();
        for line in body.lines().map(|line| line.split("//").next().unwrap().trim()).filter(|line| !line.is_empty()) {
            let (kind, names) = line.strip_suffix(';').unwrap().split_once(' ').unwrap();
            for name in names.split(", ") {
                let (name, count) = match name.split_once('[') {
                    Some((name, count)) => (name, constant(count.trim_end_matches(']'))),
                    None => (name, 1),
                };
                fields.push((name.to_owned(), (kind.to_owned(), count)));
            }
        }
        fields
    }

    pub(crate) fn assert_fields(text: &str, name: &str, fields: &[(&str, (&str, usize))]) {
        let fields: Vec<_> =
            fields.iter().map(|(name, (kind, count))| ((*name).to_owned(), ((*kind).to_owned(), *count))).collect();
        assert_eq!(declared_fields(text, name), fields, "{name}");
    }

    #[test]
    fn kernel_structs_are_parsed() {
        let text =
            "#define MAX 2\nstruct Example {\n    // A comment.\n    u32 count, ends[MAX];\n    float scale; // x\n};";
        let fields = [("count", ("u32", 1)), ("ends", ("u32", 2)), ("scale", ("float", 1))];
        assert_fields(text, "Example", &fields);
    }

    #[test]
    fn a_size_beyond_32_bits_is_refused() {
        assert_eq!(size(u32::MAX as usize).unwrap(), u32::MAX);
        assert!(size(u32::MAX as usize + 1).unwrap_err().to_string().contains("use smaller batches"));
    }
}
