//! The model card: a README for a saved model.

use dualad_backbones::WeightsSource;
use dualad_store::printable;

use crate::calibration::Calibration;
use crate::model::config::ModelConfig;
use crate::model::foreign::CARD_MARK;
use crate::model::images::ImageCounts;

/// Returns the model card, in Markdown. `images` are the numbers of images that the model was made of, `results` is the section on
/// results, `thresholds` are those that the training has set.
pub(super) fn card(
    config: &ModelConfig,
    images: ImageCounts,
    results: &str,
    thresholds: Option<&Calibration>,
) -> String {
    let ModelConfig { backbone, weights, network, categories, input, .. } = config;
    let origin = match (weights.source, &weights.revision) {
        (WeightsSource::None, _) => "needs no weights".to_owned(),
        (source, Some(revision)) => {
            format!("weights from {source}: {}, revision {}", printable(&weights.location), printable(revision))
        }
        // The folders of this machine mean nothing on another.
        (source, None) => {
            let name = weights.location.rsplit(['/', '\\']).next().unwrap_or_default();
            format!("weights from {source} {}", printable(name))
        }
    };
    let digest = weights.sha256.as_ref().map(|digest| format!(", SHA-256 `{digest}`")).unwrap_or_default();
    let categories = printable(&categories.join(", "));
    let variant = network.variant;
    let trained = match &config.train {
        Some(train) => {
            format!("{images}; epochs: {}, images a step: {}, seed: {}", train.epochs, train.batch_size, train.seed)
        }
        None => images.to_string(),
    };
    let width = network.narrow_width;
    let network_row = match &config.bank {
        Some(bank) if bank.alone => "not trained: the bank alone scores".to_owned(),
        _ => format!("{variant}, narrow width {width}"),
    };
    let bank = match &config.bank {
        Some(bank) => format!("| bank | {} normal tokens |\n", bank.tokens.iter().sum::<usize>()),
        None => String::new(),
    };
    let thresholds = match thresholds {
        Some(thresholds) => {
            let lines = thresholds.summary().into_iter().map(|line| format!("- {}\n", printable(&line)));
            let lines: String = lines.collect();
            format!(
                "## First thresholds\n\nAs training has set them, for scores in {}; `calibration.json` has those in use.\n\n{lines}\n",
                thresholds.precision
            )
        }
        None => String::new(),
    };
    format!(
        "---\n{CARD_MARK}\ntags:\n- anomaly-detection\n---\n\n\
         # Anomaly detection: {}\n\n\
         A DualAD model (S. He et al., Electronics 2025, 14(3), 594), trained by dualad {}. It scores how far an image, and each of \
         its pixels, departs from the normal images it was trained on; it has seen no defects, and its scores are no \
         probabilities. What it was not trained on, be it another product, camera or light, looks anomalous to it.\n\n\
         | | |\n|---|---|\n| backbone | `{backbone}`, {origin}{digest} |\n| network | {network_row} |\n\
         {}| input | RGB, {} x {} pixels (height x width), {}, {} |\n| trained on | {trained} |\n| categories | {} |\n\n\
         ## Results\n\n{}\n\n{thresholds}## Files\n\n`config.json` says how to rebuild it, `model.safetensors` holds the reconstruction \
         network and the bank, if there is one, `calibration.json`, where there is one, the thresholds, and \
         `training-images.json`, where there is one, digests of the images it was trained on or has in its bank.{}\n",
        categories,
        config.dualad,
        bank,
        input.height,
        input.width,
        input.filter,
        input.fit,
        // In a table, a bar ends a cell.
        categories.replace('|', "\\|"),
        if results.trim().is_empty() { "Not measured." } else { results.trim() },
        if weights.source == WeightsSource::None {
            ""
        } else {
            " The backbone's weights are not included, and have a license of their own."
        },
    )
}
