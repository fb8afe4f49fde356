//! The recipe of a run.

use crate::Variant;
use crate::bank::Bank;
use crate::error::{Error, Result};
use crate::fit::settings::Fit;
use crate::recipe::{MemoryConfig, Preset, Recipe, TrainConfig};

/// The default number of epochs where a model is continued.
const CONTINUED_EPOCHS: u64 = 10;
/// The factor of the learning rate where a model is continued. The full rate would first undo what it has learned.
const CONTINUED_RATE: f64 = 0.25;

/// Returns the recipe with the run's settings, and the name of the preset that it started from.
pub(super) fn resolve(fit: &Fit) -> Result<(Recipe, Option<Preset>)> {
    let alone = fit.base.as_ref().and_then(|base| base.model().bank()).is_some_and(Bank::is_alone);
    let mut recipe = match (&fit.recipe, &fit.base) {
        (Some(recipe), _) => recipe.clone(),
        (None, None) => fit.preset.unwrap_or(Preset::Fast).recipe(Variant::Heterogeneous, fit.backbone),
        (None, Some(base)) => {
            let network = base.config().network.clone();
            let fast = Recipe::fast(network.variant, fit.backbone).train;
            let mut train = base.config().train.clone().unwrap_or(fast);
            train.epochs = if alone { 0 } else { CONTINUED_EPOCHS };
            train.optimizer.learning_rate *= CONTINUED_RATE;
            // The model keeps its memory slots: none are drawn anew.
            train.memory = MemoryConfig::paper();
            // Tokens of new categories are chosen like those that the bank has.
            let bank = base.model().bank().map(|bank| bank.config().clone());
            Recipe { network, train, bank }
        }
    };
    let TrainConfig { epochs, seed, .. } = &mut recipe.train;
    *epochs = fit.epochs.unwrap_or(*epochs);
    *seed = fit.seed.unwrap_or(*seed);
    recipe.validate()?;
    if let Some(base) = &fit.base
        && recipe.network != base.config().network
    {
        let (field, reason) =
            ("network", "a model keeps its network when its training continues; change `train` alone");
        return Err(Error::Config { field, value: "another one".into(), reason: reason.into() });
    }
    if alone && recipe.train.epochs > 0 {
        let reason = "the model's bank scores alone, and its network was never trained; continue it with 0 epochs, or train a new model";
        return Err(Error::Config { field: "epochs", value: recipe.train.epochs.to_string(), reason: reason.into() });
    }
    let preset = match (&fit.preset, &fit.recipe, &fit.base) {
        (_, None, Some(base)) => base.config().preset,
        (Some(preset), _, _) => Some(*preset),
        (None, Some(_), _) => None,
        (None, None, None) => Some(Preset::Fast),
    };
    Ok((recipe, preset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Detector;
    use dualad_backbones::Backbone;

    #[test]
    fn a_preset_chooses_the_recipe_unless_one_is_given() {
        let [paper, fast] =
            [Recipe::paper, Recipe::fast].map(|make| make(Variant::Heterogeneous, Backbone::FilterBank));
        let resolved = |fit: Fit| resolve(&fit).unwrap();
        assert_eq!(resolved(Detector::fit("images")), (fast.clone(), Some(Preset::Fast)));
        assert_eq!(resolved(Detector::fit("images").preset(Preset::Paper)), (paper.clone(), Some(Preset::Paper)));
        assert_eq!(resolved(Detector::fit("images").recipe(paper.clone())), (paper, None));
        let named = Detector::fit("images").recipe(fast.clone()).preset(Preset::Fast);
        assert_eq!(resolved(named), (fast, Some(Preset::Fast)));
    }
}
