//! The configuration of a bank.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::setters::setters;

/// The largest side of a neighborhood, in cells.
pub(super) const MAX_NEIGHBORHOOD: usize = 15;

/// The configuration of a [bank](crate::bank) of normal tokens.
///
/// ```
/// use dualad::bank::BankConfig;
///
/// let config = BankConfig::default().with_tokens(1000);
/// config.validate()?;
/// # Ok::<(), dualad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BankConfig {
    /// The number of tokens of each scale that are kept of each category; from 1 to 100,000.
    pub tokens: usize,
    /// The number of candidate tokens of each category and scale, from which the tokens are selected; from 1 to 10,000,000.
    pub candidates: usize,
    /// The number of principal components of a token that are kept; from 1 to 1,024. A token with fewer channels keeps all.
    pub dims: usize,
    /// The side of the square of cells that is averaged to make a local token; odd, from 1 to 15.
    pub neighborhood: usize,
    /// The side of the square of cells of the last stage that is averaged to make a context token; odd, from 1 to 15.
    pub context_neighborhood: usize,
    /// The share of context tokens in the bank's part of the scores, from 0 to 1. With 0 there are none.
    pub context: f64,
    /// The weight of positions: the part, from 0 to 1, by which they may raise the distances and scores of a category's normal
    /// images. With 0 positions do not count.
    pub position: f64,
    /// The share of the reconstruction in the scores, from 0 to 1; the bank has the rest.
    pub reconstruction: f64,
}

setters!(BankConfig {
    with_tokens: tokens: usize,
    with_candidates: candidates: usize,
    with_dims: dims: usize,
    with_neighborhood: neighborhood: usize,
    with_context_neighborhood: context_neighborhood: usize,
    with_context: context: f64,
    with_position: position: f64,
    with_reconstruction: reconstruction: f64,
});

impl Default for BankConfig {
    fn default() -> Self {
        Self {
            tokens: 4000,
            candidates: 60_000,
            dims: 128,
            neighborhood: 3,
            context_neighborhood: 7,
            context: 0.0,
            position: 0.06,
            reconstruction: 0.3,
        }
    }
}

impl BankConfig {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is not.
    pub fn validate(&self) -> Result<()> {
        let check = |field, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(Error::Config { field, value: value.to_string(), reason: format!("must be from 1 to {max}") })
        };
        check("bank.tokens", self.tokens, 100_000)?;
        check("bank.candidates", self.candidates, 10_000_000)?;
        check("bank.dims", self.dims, 1024)?;
        let neighborhoods =
            [("bank.neighborhood", self.neighborhood), ("bank.context_neighborhood", self.context_neighborhood)];
        for (field, side) in neighborhoods {
            check(field, side, MAX_NEIGHBORHOOD)?;
            if side.is_multiple_of(2) {
                return Err(Error::Config { field, value: side.to_string(), reason: "must be odd".into() });
            }
        }
        let shares = [
            ("bank.context", self.context),
            ("bank.position", self.position),
            ("bank.reconstruction", self.reconstruction),
        ];
        for (field, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                let reason = "must be from 0 to 1".into();
                return Err(Error::Config { field, value: format!("{share:?}"), reason });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_out_of_range_is_named() {
        let default = BankConfig::default();
        default.validate().unwrap();
        for (config, field) in [
            (default.clone().with_tokens(0), "bank.tokens"),
            (default.clone().with_candidates(10_000_001), "bank.candidates"),
            (default.clone().with_dims(0), "bank.dims"),
            (default.clone().with_neighborhood(17), "bank.neighborhood"),
            (default.clone().with_reconstruction(f64::NAN), "bank.reconstruction"),
            (default.clone().with_context_neighborhood(4), "bank.context_neighborhood"),
            (default.clone().with_context(1.5), "bank.context"),
            (default.clone().with_position(-0.1), "bank.position"),
            (default.with_neighborhood(2), "bank.neighborhood"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
