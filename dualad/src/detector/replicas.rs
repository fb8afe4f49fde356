//! Detectors of one model on several devices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;

use candle_core::Device;
use dualad_data::Cancel;

use crate::calibration::Calibration;
use crate::detector::engine::{self, BATCH};
use crate::detector::idle::Idle;
use crate::detector::{Detector, Inspection, Request};
use crate::device_name::of_device;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Detectors of one model, one on each of several devices, behind one queue.
///
/// Images are inspected in batches of 8, as by a single [`Detector`], and each batch is computed by the device that is idle. So the
/// scores are those of a single detector, and the results are in the order of the images. Callers on different threads share the
/// devices in the order in which they came. It is `Send + Sync`, and clones are cheap.
///
/// An error of a device ends up with the images that it computed, as [`Error::Replica`], which names it; they are not tried on another
/// device. As many threads as the detector has decode the images, and as many others are divided among the devices for the rest of the
/// work. They end with the last clone.
///
/// ```no_run
/// use dualad::Detector;
/// use dualad::candle_core::Device;
/// use dualad::detector::Replicas;
///
/// let devices = [Device::new_cuda_with_stream(0)?, Device::new_cuda_with_stream(1)?];
/// let detector = Detector::builder().device(&devices[0]).load("model")?;
/// let replicas = Replicas::new(detector, &devices[1..])?;
/// for inspection in replicas.inspect_batch(["1.png", "2.png", "3.png"]) {
///     println!("{}", inspection?.image_score);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Replicas {
    /// The detector that the others are replicas of.
    detector: Detector,
    /// That detector with threads that decode images. A pool of the caller's may have no thread left: all may wait for the images.
    decoder: Detector,
    /// The detectors that compute, one for each device.
    replicas: Arc<[Detector]>,
    idle: Arc<Idle>,
}

/// One detector, which computes as it would alone.
impl From<Detector> for Replicas {
    fn from(detector: Detector) -> Self {
        Self { replicas: [detector.clone()].into(), decoder: detector.clone(), detector, idle: Arc::new(Idle::new(1)) }
    }
}

impl Replicas {
    /// Makes a replica of a detector on each of these other devices: of the same model, with the same settings. The backbone's weights
    /// are read again for each, and the model's parameters are copied.
    ///
    /// # Errors
    /// [`Error::Replica`] if a device fails; [`Error::InvalidArgument`] for a precision that a device does not have; those of
    /// [`DetectorBuilder::load`](crate::detector::DetectorBuilder::load) if the backbone's weights are gone or have changed.
    pub fn new(detector: Detector, others: &[Device]) -> Result<Self> {
        if others.is_empty() {
            return Ok(detector.into());
        }
        let share = |parts: usize| detector.threads.share(parts);
        let devices = 1 + others.len();
        let mut replicas = vec![Detector { threads: share(devices)?, ..detector.clone() }];
        for device in others {
            let replica = detector.on_device(device, share(devices)?);
            replicas.push(replica.map_err(|error| of_device(device, error))?);
        }
        let decoder = Detector { threads: share(1)?, ..detector.clone() };
        Ok(Self { detector, decoder, replicas: replicas.into(), idle: Arc::new(Idle::new(devices)) })
    }

    /// Returns the detector that the others are replicas of, with the model, its thresholds and its limits.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// Returns the devices, in order.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Device> {
        self.replicas.iter().map(Detector::device)
    }

    /// Returns the replicas with other thresholds, or none, as [`Detector::with_calibration`] does.
    #[must_use]
    pub fn with_calibration(self, calibration: Option<Calibration>) -> Self {
        let detector = self.detector.with_calibration(calibration);
        let with = |replica: &Detector| Detector { calibration: detector.calibration.clone(), ..replica.clone() };
        Self { replicas: self.replicas.iter().map(with).collect(), detector, ..self }
    }

    /// Inspects one image.
    ///
    /// # Errors
    /// As [`Detector::inspect`]; with several devices, [`Error::Replica`] if one fails.
    pub fn inspect<'a>(&self, request: impl Into<Request<'a>>) -> Result<Inspection> {
        engine::only(self.inspect_batch([request.into()]))
    }

    /// Inspects images. There is one answer for each, in order; an image that fails does not affect the others.
    pub fn inspect_batch<'a, R: Into<Request<'a>>>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Vec<Result<Inspection>> {
        self.inspect_batch_with(requests, &Cancel::default(), |_| {})
    }

    /// Inspects images as [`Self::inspect_batch`] does, with a handle for cancelling and a function that is called after each
    /// batch. Images that are not inspected when the work is cancelled are [`Error::Cancelled`].
    ///
    /// At most 16 images for each device are in memory at a time: a batch that is computed, and one that is decoded or waits. The answers
    /// hold their maps. The threads that wait for the devices end with the call.
    pub fn inspect_batch_with<'a, R: Into<Request<'a>>>(
        &self,
        requests: impl IntoIterator<Item = R>,
        cancel: &Cancel,
        mut progress: impl FnMut(Progress),
    ) -> Vec<Result<Inspection>> {
        let requests: Vec<Request<'a>> = requests.into_iter().map(Into::into).collect();
        if self.replicas.len() == 1 {
            return engine::inspect(&self.detector, &requests, cancel, progress);
        }
        let mut answers = Vec::new();
        answers.resize_with(requests.len(), || Err(Error::Cancelled));
        let batches: Vec<&[Request<'a>]> = requests.chunks(BATCH).collect();
        let next = AtomicUsize::new(0);
        let (sender, answered) = channel();
        let work = |sender: &Sender<(usize, Vec<Result<Inspection>>)>| {
            while !cancel.is_cancelled() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(found) = batches.get(number).and_then(|batch| self.inspect_few(batch, cancel)) else { break };
                // The receiver lives as long as this.
                let _ = sender.send((number, found));
            }
        };
        // For each device, a batch is computed and another one decoded.
        let callers = batches.len().min(2 * self.replicas.len());
        std::thread::scope(|scope| {
            let start = |_: &usize| {
                let (sender, work) = (sender.clone(), &work);
                Builder::new().name("replica".into()).spawn_scoped(scope, move || work(&sender)).is_ok()
            };
            // A batch that is alone needs no other thread, unless this one may not wait. The system may start none.
            let is_alone = callers < 2 && may_wait();
            if is_alone || (0..callers).filter(start).count() == 0 {
                work(&sender);
            }
            drop(sender);
            let mut done = 0;
            for (number, found) in answered {
                done += found.len();
                answers.iter_mut().skip(number * BATCH).zip(found).for_each(|(answer, found)| *answer = found);
                progress(Progress { done, total: requests.len() });
            }
        });
        answers
    }

    /// Inspects a batch on a device that is idle; `None` if the work is cancelled before.
    fn inspect_few(&self, requests: &[Request<'_>], cancel: &Cancel) -> Option<Vec<Result<Inspection>>> {
        let pictures = engine::decode(&self.decoder, requests);
        let in_use = may_wait().then(|| self.idle.wait());
        let number = in_use.as_ref().map_or(0, |in_use| in_use.number);
        let replica = self.replicas.get(number).filter(|_| !cancel.is_cancelled())?;
        let found = engine::answer(replica, requests, pictures, cancel).into_iter();
        Some(found.map(|found| found.map_err(|error| of_device(replica.device(), error))).collect())
    }
}

/// Returns false on a thread of a rayon pool: while it computes, it may take up the work of another caller, which would then wait for
/// the device that this thread has.
fn may_wait() -> bool {
    rayon::current_thread_index().is_none()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};
    use dualad_backbones::{Backbone, FeatureExtractor, Provenance, Stage};
    use dualad_data::image::Picture;

    use super::*;
    use crate::{DualAd, DualAdConfig, ErrorKind, Model, Random, Variant};

    /// The extractor of a device that has failed.
    #[derive(Debug)]
    struct Failing(Arc<dyn FeatureExtractor>);

    impl FeatureExtractor for Failing {
        fn backbone(&self) -> Backbone {
            self.0.backbone()
        }

        fn stages(&self) -> &[Stage] {
            self.0.stages()
        }

        fn device(&self) -> &Device {
            self.0.device()
        }

        fn dtype(&self) -> DType {
            self.0.dtype()
        }

        fn provenance(&self) -> &Provenance {
            self.0.provenance()
        }

        fn extract(&self, _images: &Tensor) -> dualad_backbones::Result<Vec<Tensor>> {
            Err(candle_core::Error::Msg("out of memory".into()).into())
        }
    }

    fn detector() -> Detector {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
            .with_grid([4, 4])
            .with_neighbor_mask(Some([1, 1]))
            .with_narrow_width(8)
            .with_chunk_width(8)
            .with_ffn_width(8);
        let network = DualAd::new(config, &Random::new(0), &Device::Cpu).unwrap();
        let weights = Backbone::FilterBank.extractor().build().unwrap().provenance().clone();
        let model = Model::new(network, Backbone::FilterBank, &[1, 2, 3], weights);
        Detector::builder().threads(2).from_model(model).unwrap()
    }

    #[test]
    fn the_error_of_a_device_ends_up_with_its_images_and_names_it() {
        let detector = detector();
        let mut replicas = Replicas::new(detector.clone(), &[Device::Cpu, Device::Cpu]).unwrap();
        let mut of_devices = replicas.replicas.to_vec();
        of_devices[1].extractor = Arc::new(Failing(detector.extractor.clone()));
        replicas.replicas = of_devices.into();
        let picture = |index: u8| Picture::new(64, 64, (0..64 * 64 * 3).map(|at| (at % 251) as u8 ^ index).collect());
        let pictures: Vec<Picture> = (0..43).map(|index| picture(index).unwrap()).collect();
        let expected = detector.inspect_batch(&pictures);
        let found = replicas.inspect_batch(&pictures);
        let mut failed = Vec::new();
        for (index, (found, expected)) in found.chunks(BATCH).zip(expected.chunks(BATCH)).enumerate() {
            let errors = found.iter().filter_map(|found| found.as_ref().err());
            let errors: Vec<(ErrorKind, String)> = errors.map(|error| (error.kind(), error.to_string())).collect();
            if errors.is_empty() {
                assert!(found.iter().zip(expected).all(|(a, b)| a.as_ref().unwrap() == b.as_ref().unwrap()));
                continue;
            }
            failed.push(index);
            assert_eq!(errors.len(), found.len(), "{errors:?}");
            let is_named = |text: &str| text.starts_with("on the device cpu: ") && text.contains("out of memory");
            assert!(errors.iter().all(|(kind, text)| *kind == ErrorKind::Device && is_named(text)), "{errors:?}");
        }
        // Of 6 batches and 3 devices that take turns.
        assert!((1..=4).contains(&failed.len()), "{failed:?}");
        // An image that cannot be used is no fault of the device.
        let error = replicas.inspect("absent.png").unwrap_err();
        assert!(!matches!(error, Error::Replica { .. }), "{error}");
    }

    #[test]
    fn every_device_has_a_share_of_the_threads() {
        let threads = |count: usize, devices: usize| {
            let detector = detector().with_threads(count).unwrap();
            let replicas = Replicas::new(detector, &vec![Device::Cpu; devices - 1]).unwrap();
            let count = |replica: &Detector| replica.threads.run(rayon::current_num_threads);
            replicas.replicas.iter().map(count).collect::<Vec<_>>()
        };
        assert_eq!(threads(4, 1), [4]);
        assert_eq!(threads(4, 2), [2, 2]);
        assert_eq!(threads(5, 2), [2, 2]);
        assert_eq!(threads(2, 3), [1, 1, 1]);
    }
}
