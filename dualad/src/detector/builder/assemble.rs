//! The checks of a model's parts, and the detector that they make.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};
use dualad_backbones::{FeatureExtractor, Provenance, Weights};

use super::{DetectorBuilder, Setting, ThreadSetting};
use crate::Precision;
use crate::calibration::Calibration;
use crate::detector::own_thresholds::check_calibration;
use crate::detector::{Detector, Threads};
use crate::device_name::device_name;
use crate::error::{Error, Result};
use crate::features::size;
use crate::model::{Model, ModelConfig};
use crate::scorer::Scorer;

impl DetectorBuilder {
    /// Makes a detector of a model. `included` are the weights that come with it; `name` is the model's folder or name.
    pub(super) fn assemble(
        self,
        model: Arc<Model>,
        calibration: Option<Calibration>,
        included: Option<Weights>,
        name: &Path,
    ) -> Result<Detector> {
        let calibration = self.calibration.or_saved(calibration);
        let config = model.config();
        let of_thresholds = calibration.as_ref().map(|calibration| calibration.precision);
        let precision = self.precision.or(of_thresholds).unwrap_or_default();
        let is_on_cpu = self.device.is_cpu() && self.dtype == DType::F32;
        if precision == Precision::Int8 && !is_on_cpu {
            let reason = "needs the CPU and the dtype f32; compute there, or in f32 with thresholds of that precision";
            return Err(Error::invalid_argument("precision", precision, reason));
        }
        calibration.as_ref().map_or(Ok(()), |calibration| check_calibration(config, precision, calibration, name))?;
        let recorded = &config.weights;
        let (extractor, weights) = self.extractor(&model, included, precision, name)?;
        let found = extractor.provenance();
        if found.sha256 != recorded.sha256 {
            let shown = |provenance: &Provenance| provenance.sha256.clone().unwrap_or_else(|| "none".into());
            let (wanted, found) = (shown(recorded), shown(found));
            let reason =
                format!("the backbone's weights have SHA-256 {found}, and it was trained with {wanted}; give those");
            return Err(Error::ModelWeights { model: name.into(), reason });
        }
        if extractor.token_channels() != config.network.channels() {
            let reason = format!(
                "its backbone gives {} channels, and its network takes {}; config.json was changed",
                extractor.token_channels(),
                config.network.channels()
            );
            return Err(Error::model(name, reason));
        }
        let (token_stride, found) = (config.network.token_stride, config.backbone.token_stride());
        if token_stride != found {
            let reason = format!(
                "its backbone's tokens have {found} pixels a side, and its network's {token_stride}; config.json was changed"
            );
            return Err(Error::model(name, reason));
        }
        let [rows, columns] = config.network.grid;
        let preprocess = config.input.preprocess()?;
        if [preprocess.height() as usize, preprocess.width() as usize]
            != [rows, columns].map(|tokens| tokens.saturating_mul(token_stride))
        {
            let reason = format!(
                "its input is not {token_stride} times its network's grid of {rows}x{columns}; config.json was changed"
            );
            return Err(Error::model(name, reason));
        }
        let tiling = self.tiling.or_saved(config.input.tiling);
        tiling.map_or(Ok(()), |tiling| tiling.validate())?;
        let threads = self.threads.threads()?;
        let network = if is_on_cpu {
            model.network().reconstructor_in(precision)?
        } else {
            model.network().frozen(self.dtype, &self.device)?.reconstructor()?
        };
        let size = size(&preprocess);
        let scorer = Scorer::new(network, model.bank().cloned(), extractor.stages(), size)?;
        Ok(Detector {
            model,
            scorer: Arc::new(scorer),
            extractor,
            precision,
            // The folder of the process may change before they are read again.
            weights: weights.with_absolute_path(),
            preprocess,
            tiling,
            calibration: calibration.map(Arc::new),
            regions: self.regions,
            limits: self.limits,
            threads,
        })
    }

    /// Returns the backbone and the source of its weights: those of another detector, or of this model.
    fn extractor(
        &self,
        model: &Model,
        included: Option<Weights>,
        precision: Precision,
        name: &Path,
    ) -> Result<(Arc<dyn FeatureExtractor>, Weights)> {
        let config = model.config();
        if let Some(detector) = &self.backbone_of {
            self.check_backbone_of(detector, config, precision)?;
            return Ok((Arc::clone(&detector.extractor), detector.weights.clone()));
        }
        let included = included.filter(|_| config.backbone.has_weights());
        let weights = match self.weights.clone().or(included) {
            Some(weights) => weights,
            None if !config.backbone.has_weights() => Weights::default(),
            None => self.recorded_weights(model, name)?,
        };
        let builder = config.backbone.extractor().stages(&config.stages).weights(weights.clone());
        let extractor = builder.device(&self.device).dtype(self.dtype).precision(precision).build()?;
        Ok((Arc::from(extractor), weights))
    }

    /// Checks that another detector's backbone computes what this model needs. Its weights are compared by the caller.
    fn check_backbone_of(&self, detector: &Detector, config: &ModelConfig, precision: Precision) -> Result<()> {
        let stages: Vec<usize> = detector.extractor.stages().iter().map(|stage| stage.index).collect();
        let differs = |what: &str, found: String, wanted: String| {
            let value = format!("a detector with the {what} {found}");
            let reason = format!("this model needs {wanted}; load it with a backbone of its own");
            Err(Error::invalid_argument("backbone_of", value, reason))
        };
        if self.weights.is_some() {
            return Err(Error::invalid_argument("backbone_of", "a detector", "its weights are used; give no others"));
        }
        let backbone = detector.extractor.backbone();
        if backbone != config.backbone {
            return differs("backbone", backbone.to_string(), config.backbone.to_string());
        }
        if stages != config.stages {
            return differs("stages", format!("{stages:?}"), format!("{:?}", config.stages));
        }
        if !detector.device().same_device(&self.device) {
            return differs("device", device_name(detector.device()), device_name(&self.device));
        }
        if detector.dtype() != self.dtype {
            return differs("dtype", detector.dtype().as_str().into(), self.dtype.as_str().into());
        }
        if detector.precision() != precision {
            return differs("precision", detector.precision().to_string(), precision.to_string());
        }
        Ok(())
    }
}

impl Detector {
    /// Returns a detector of the same model with the same settings, on another device and on other threads.
    pub(in crate::detector) fn on_device(&self, device: &Device, threads: Threads) -> Result<Self> {
        let builder = DetectorBuilder {
            device: device.clone(),
            dtype: self.dtype(),
            precision: Some(self.precision),
            threads: ThreadSetting::Given(threads),
            weights: Some(self.weights.clone()),
            tiling: Setting::Given(self.tiling),
            // They may be of another model, as the caller wishes.
            calibration: Setting::Given(None),
            regions: self.regions,
            limits: self.limits,
            ..DetectorBuilder::default()
        };
        let made = builder.assemble(self.model.clone(), None, None, Path::new("<model>"))?;
        Ok(Self { calibration: self.calibration.clone(), ..made })
    }
}
