//! A macro that defines the setters of a struct with public fields.

/// Defines a setter by value for each public field of a `#[non_exhaustive]` struct, which other crates cannot write as a
/// literal: `setters!(Point { with_x: x: f64, with_y: y: f64 })`.
macro_rules! setters {
    ($name:ident { $($setter:ident: $field:ident: $type:ty),+ $(,)? }) => {
        impl $name {
            $(
                #[doc = concat!("Sets `", stringify!($field), "`.")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

pub(crate) use setters;
