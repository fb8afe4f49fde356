//! New thresholds of some categories, joined with the earlier ones of others.

use super::Calibration;
use crate::error::{Error, Result};

impl Calibration {
    /// Returns those of these categories that have no thresholds of their own here, in their order.
    pub fn lacking<'a>(&self, categories: &'a [String]) -> Vec<&'a str> {
        let lacks = |name: &&str| !self.categories.contains_key(*name);
        categories.iter().map(String::as_str).filter(lacks).collect()
    }

    /// Adds the thresholds of an earlier calibration of the same model and precision for the categories that have none here, with the notices on
    /// them. With `replace_pooled`, the pooled thresholds stay; otherwise they are the earlier ones, also if there were none. Replace
    /// the pooled thresholds only if the new images are of every category: those of one product mean nothing for another.
    ///
    /// ```
    /// use dualad::calibration::Calibration;
    ///
    /// let text = r#"{"categories": {"gear": {"reject": 2}, "plate": {"reject": 5}}, "pooled": {"reject": 5}}"#;
    /// let earlier = Calibration::from_json("earlier", text)?;
    /// let text = r#"{"categories": {"gear": {"reject": 3}}, "pooled": {"reject": 3}}"#;
    /// let of_gear = Calibration::from_json("new", text)?;
    ///
    /// assert_eq!(of_gear.lacking(&["gear".into(), "plate".into()]), ["plate"]);
    /// let merged = of_gear.merged_into(&earlier, false)?;
    /// assert_eq!((merged.categories["gear"].reject, merged.categories["plate"].reject), (3.0, 5.0));
    /// assert_eq!(merged.pooled.unwrap().reject, 5.0);
    /// # Ok::<(), dualad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for thresholds of two models or of two precisions: their scores differ.
    pub fn merged_into(mut self, earlier: &Self, replace_pooled: bool) -> Result<Self> {
        if let (Some(earlier), Some(new)) = (&earlier.model, &self.model)
            && earlier != new
        {
            let reason =
                format!("must be {new}, that of the new ones, because the scores of models differ; leave them out");
            return Err(Error::invalid_argument("the model of the earlier thresholds", earlier, reason));
        }
        if earlier.precision != self.precision && !earlier.is_of_any_precision() {
            let reason = format!("must be {}, that of the new ones; leave them out", self.precision);
            return Err(Error::invalid_argument("the precision of the earlier thresholds", earlier.precision, reason));
        }
        let is_of = |notice: &str, name: &String| notice.starts_with(&notice_of(name));
        // A category that keeps its thresholds is not decided by the pooled ones.
        self.notices.retain(|notice| !earlier.categories.keys().any(|name| is_of(notice, name)));
        for notice in &earlier.notices {
            if !self.categories.keys().any(|name| is_of(notice, name)) && !self.notices.contains(notice) {
                self.notices.push(notice.clone());
            }
        }
        for (name, thresholds) in &earlier.categories {
            if !self.categories.contains_key(name) {
                self.categories.insert(name.clone(), thresholds.clone());
            }
        }
        if !replace_pooled {
            self.pooled = earlier.pooled.clone();
        }
        self.format = self.format.max(earlier.format);
        self.set_precision(self.precision);
        Ok(self)
    }

    /// Returns whether these thresholds replace the pooled ones of an earlier calibration: they do if they are of all `categories` of the
    /// model, or of none. If the model's categories are not known, those of the earlier calibration count.
    pub fn replaces_pooled(&self, earlier: Option<&Self>, categories: &[String]) -> bool {
        let Some(earlier) = earlier else { return true };
        let is_set = |name: &String| self.categories.contains_key(name);
        self.categories.is_empty()
            || if categories.is_empty() { earlier.categories.keys().all(is_set) } else { categories.iter().all(is_set) }
    }

    /// Joins new thresholds with an earlier calibration of the same model, if there is one: as [`Self::merged_into`], where
    /// [`Self::replaces_pooled`] or `replace_pooled` says if the pooled ones are replaced. `categories` are all those of the model. Without
    /// an earlier calibration, a warning says if the pooled thresholds will decide on categories that had no images.
    ///
    /// # Errors
    /// Those of [`Self::merged_into`]. [`Error::InvalidArgument`] if the model has several categories, and the new thresholds are pooled ones
    /// only and would replace others: their images may be of one category. With `replace_pooled` they replace them.
    pub fn joined(mut self, earlier: Option<&Self>, categories: &[String], replace_pooled: bool) -> Result<Self> {
        if let Some(earlier) = earlier {
            if self.categories.is_empty() && categories.len() > 1 && earlier.pooled.is_some() && !replace_pooled {
                let reason = "they would replace the pooled thresholds; name the category of each image";
                return Err(Error::invalid_argument("the category of the images", "not given", reason));
            }
            let replaces = replace_pooled || self.replaces_pooled(Some(earlier), categories);
            return self.merged_into(earlier, replaces);
        }
        let lacking = self.lacking(categories).join(", ");
        let set = self.categories.keys().cloned().collect::<Vec<_>>().join(", ");
        if let Some(pooled) = self.pooled.as_mut().filter(|_| !set.is_empty() && !lacking.is_empty()) {
            let text =
                format!("set by images of {set}, and they decide on {lacking} too; give images of every product");
            pooled.warnings.push(text);
        }
        Ok(self)
    }
}

/// Returns the beginning of every notice on a category.
pub(super) fn notice_of(category: &str) -> String {
    format!("category \"{category}\" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::calibration::{Calibrator, LabeledScore, Rule};

    /// Returns the thresholds of categories with two good images each, and the highest score.
    fn calibration(categories: &[(&str, f32)]) -> Calibration {
        let scores = categories.iter().flat_map(|&(category, highest)| {
            [highest / 2.0, highest].map(|score| LabeledScore { category, score, anomalous: false })
        });
        Calibrator::new(Rule::Quantile { quantile: 1.0 }).calibrate(scores).unwrap()
    }

    #[test]
    fn thresholds_of_other_categories_and_the_pooled_ones_are_kept() {
        let earlier = calibration(&[("gear", 2.0), ("plate", 9.0)]);
        let new = calibration(&[("gear", 3.0)]);
        let merged = new.clone().merged_into(&earlier, false).unwrap();
        assert_eq!(merged.categories["gear"], new.categories["gear"]);
        assert_eq!(merged.categories["plate"], earlier.categories["plate"]);
        assert_eq!(merged.pooled, earlier.pooled);
        assert_eq!(new.clone().merged_into(&earlier, true).unwrap().pooled, new.pooled);
        let all = calibration(&[("gear", 3.0), ("plate", 4.0)]);
        assert_eq!(all.clone().merged_into(&earlier, true).unwrap(), all);
        // Thresholds without pooled ones do not gain those of one category.
        let bare = Calibration::new(earlier.categories.clone(), None);
        assert_eq!(new.merged_into(&bare, false).unwrap().pooled, None);
    }

    #[test]
    fn thresholds_of_two_precisions_are_not_joined() {
        let [mut earlier, mut new] = [calibration(&[("gear", 2.0)]), calibration(&[("gear", 3.0)])];
        new.set_precision(Precision::Int8);
        // Those of no model are of any precision.
        assert!(new.clone().joined(Some(&earlier), &[], false).is_ok());
        earlier.model = Some("digest".into());
        let error = new.clone().joined(Some(&earlier), &[], false).unwrap_err().to_string();
        assert!(error.contains("f32") && error.contains("must be int8"), "{error}");
        earlier.set_precision(Precision::Int8);
        assert!(new.clone().joined(Some(&earlier), &[], false).is_ok());
        assert!(new.merged_into(&earlier, false).is_ok());
    }

    #[test]
    fn thresholds_of_two_models_are_not_joined() {
        let [mut earlier, mut new] = [calibration(&[("gear", 2.0)]), calibration(&[("gear", 3.0)])];
        earlier.model = Some("first".into());
        // Those that are written by hand are of any model.
        assert!(new.clone().merged_into(&earlier, false).is_ok());
        new.model = Some("second".into());
        let error = new.clone().merged_into(&earlier, false).unwrap_err().to_string();
        assert!(error.contains("is first: must be second"), "{error}");
        assert!(new.joined(Some(&earlier), &[], false).is_err());
    }

    #[test]
    fn joined_thresholds_replace_the_pooled_ones_only_with_every_category() {
        let names = ["gear", "plate"].map(str::to_owned);
        let earlier = calibration(&[("gear", 2.0), ("plate", 9.0)]);
        let gear = calibration(&[("gear", 3.0)]);
        let both = calibration(&[("gear", 3.0), ("plate", 4.0)]);
        let joined = |new: &Calibration, replace| new.clone().joined(Some(&earlier), &names, replace).unwrap();
        assert_eq!(joined(&gear, false).pooled, earlier.pooled);
        assert_eq!(joined(&gear, true).pooled, gear.pooled);
        assert_eq!(joined(&both, false), both);
        // A model that does not know its categories.
        assert!(!gear.replaces_pooled(Some(&earlier), &[]) && both.replaces_pooled(Some(&earlier), &[]));
        // Images of one category or of all: nobody knows.
        let mut pooled = gear.clone();
        pooled.categories.clear();
        let error = pooled.clone().joined(Some(&earlier), &names, false).unwrap_err().to_string();
        assert!(error.contains("category of each image"), "{error}");
        assert_eq!(joined(&pooled, true).categories, earlier.categories);
        assert_eq!(pooled.clone().joined(Some(&earlier), &names[..1], false).unwrap().pooled, pooled.pooled);
        // Without earlier ones.
        let warning =
            |new: &Calibration| new.clone().joined(None, &names, false).unwrap().pooled.unwrap().warnings.join("");
        assert!(warning(&gear).contains("they decide on plate too") && !warning(&both).contains("decide"));
    }

    #[test]
    fn notices_follow_the_thresholds_that_they_are_about() {
        let defect = |category| LabeledScore { category, score: 9.0, anomalous: true };
        let good = |category| LabeledScore { category, score: 1.0, anomalous: false };
        let calibrator = Calibrator::default();
        let new = calibrator.calibrate([good("gear"), defect("plate")]).unwrap();
        assert_eq!(new.notices.len(), 1);
        let earlier = calibration(&[("plate", 4.0)]);
        assert!(new.clone().merged_into(&earlier, false).unwrap().notices.is_empty());
        // The other way about: the earlier notice is of a category that has thresholds now.
        assert!(earlier.clone().merged_into(&new, false).unwrap().notices.is_empty());
        let other = calibration(&[("gear", 4.0)]);
        assert_eq!(other.merged_into(&new, false).unwrap().notices, new.notices);
    }
}
