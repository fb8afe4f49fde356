//! Facts of each backbone that need no weights: its stages, its tensors and its cost.

use std::str::FromStr;

use crate::backbone::Backbone;
use crate::error::{Error, Result};
use crate::filter_bank;
use crate::network::vit::Size;
use crate::network::{Network, Parameter, efficientnet, resnet, vit};
use crate::stage::{Stage, TOKEN_STRIDE};

impl Backbone {
    /// Returns every stage of the backbone, first to last.
    pub fn stages(self) -> Vec<Stage> {
        match self.network() {
            Some(network) => network.stages(),
            None => filter_bank::STAGES.to_vec(),
        }
    }

    /// Returns the stages that DualAD uses according to its paper's table of backbones: 1 to 3 of the ResNets, 1 to 4 of
    /// EfficientNet-B4 and ViT-S (`docs/method.md`, section 2). For the filter bank, every stage.
    ///
    /// For DINOv2 and DINOv3, which the paper does not use, 1 to 3: the output after a quarter, a half and three quarters of the blocks.
    /// Dinomaly (Guo et al., CVPR 2025) also reads blocks 3 to 10 of 12. The last blocks describe the image more than the place.
    pub fn default_stages(self) -> Vec<Stage> {
        let used = match self {
            Self::EfficientNetB4 | Self::EfficientNetB4Timm | Self::VitSmallDino => 4,
            _ => 3,
        };
        let mut stages = self.stages();
        stages.truncate(used);
        stages
    }

    /// Returns the side of a token in pixels: the patch of a vision transformer, [`TOKEN_STRIDE`] for the others. Both sides of an input
    /// must be a multiple of it.
    ///
    /// ```
    /// use dualad_backbones::Backbone;
    ///
    /// assert_eq!(Backbone::DinoV2Small.token_stride(), 14);
    /// assert_eq!(Backbone::DinoV3Small.token_stride(), 16);
    /// ```
    pub fn token_stride(self) -> usize {
        self.network().map_or(TOKEN_STRIDE, |network| network.token_stride())
    }

    /// Returns the number of trainable parameters of the whole network, classifier included, as
    /// `sum(p.numel() for p in model.parameters())` in PyTorch. 0 for the filter bank.
    ///
    /// ```
    /// use dualad_backbones::Backbone;
    ///
    /// assert_eq!(Backbone::ResNet18.parameter_count(), 11_689_512);
    /// assert_eq!(Backbone::ResNet18.classifier_parameter_count(), 1000 * 513);
    /// ```
    pub fn parameter_count(self) -> usize {
        self.network().map_or(0, |network| network.parameter_count())
    }

    /// Returns the number of parameters of the classifier alone, which is never run. 0 for a backbone without one.
    pub fn classifier_parameter_count(self) -> usize {
        self.network().map_or(0, |network| network.classifier_parameter_count())
    }

    /// Returns the multiply-accumulates for one image of `[height, width]` pixels up to the last of the given stages (numbers
    /// from 1, ascending). `u64::MAX` if there are more; 0 for the filter bank.
    ///
    /// ```
    /// use dualad_backbones::Backbone;
    ///
    /// let three = Backbone::ResNet18.multiply_accumulates(&[1, 2, 3], [224, 224])?;
    /// assert!(three < Backbone::ResNet18.multiply_accumulates(&[4], [224, 224])?);
    /// # Ok::<(), dualad_backbones::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Stages`] for stages that the backbone does not have or that do not ascend, [`Error::InputSize`] if a side is not a
    /// positive multiple of [`Self::token_stride`].
    pub fn multiply_accumulates(self, stages: &[usize], [height, width]: [usize; 2]) -> Result<u64> {
        match self.network() {
            Some(network) => network.up_to(stages)?.multiply_accumulates(height, width),
            None => Ok(0),
        }
    }

    /// Returns the keys and shapes of the tensors that a weight file must hold for the given stages (numbers from 1,
    /// ascending). Empty for the filter bank.
    ///
    /// ```
    /// use dualad_backbones::Backbone;
    ///
    /// let tensors = Backbone::ResNet18.tensors(&[1])?;
    /// assert_eq!(tensors[0], ("conv1.weight".to_owned(), vec![64, 3, 7, 7]));
    /// # Ok::<(), dualad_backbones::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Stages`] for stages that the backbone does not have or that do not ascend.
    pub fn tensors(self, stages: &[usize]) -> Result<Vec<(String, Vec<usize>)>> {
        let Some(network) = self.network() else { return Ok(Vec::new()) };
        let parameters = network.up_to(stages)?.parameters().into_iter();
        Ok(parameters.map(|Parameter { key, shape, .. }| (key, shape)).collect())
    }

    /// Returns the network's description, or `None` for the filter bank. Building one takes microseconds.
    pub(crate) fn network(self) -> Option<Network> {
        Some(match self {
            Self::ResNet18 => resnet::describe(&resnet::RESNET18),
            Self::ResNet34 => resnet::describe(&resnet::RESNET34),
            Self::ResNet50 => resnet::describe(&resnet::RESNET50),
            Self::ResNet50V1 => resnet::describe(&resnet::RESNET50_V1),
            Self::WideResNet50x2 => resnet::describe(&resnet::WIDE_RESNET50_2),
            Self::EfficientNetB4 => efficientnet::describe(&efficientnet::B4_TF),
            Self::EfficientNetB4Timm => efficientnet::describe(&efficientnet::B4_TIMM),
            Self::VitSmallDino => vit::describe(&vit::dino(self.name())),
            Self::DinoV2Small => vit::describe(&vit::dinov2(self.name(), Size::Small)),
            Self::DinoV2Base => vit::describe(&vit::dinov2(self.name(), Size::Base)),
            Self::DinoV2Large => vit::describe(&vit::dinov2(self.name(), Size::Large)),
            Self::DinoV2RegSmall => vit::describe(&vit::dinov2_registers(self.name(), Size::Small)),
            Self::DinoV2RegBase => vit::describe(&vit::dinov2_registers(self.name(), Size::Base)),
            Self::DinoV2RegLarge => vit::describe(&vit::dinov2_registers(self.name(), Size::Large)),
            Self::DinoV3Small => vit::describe(&vit::dinov3(self.name(), Size::Small)),
            Self::DinoV3Base => vit::describe(&vit::dinov3(self.name(), Size::Base)),
            Self::DinoV3Large => vit::describe(&vit::dinov3(self.name(), Size::Large)),
            Self::FilterBank => return None,
        })
    }
}

impl FromStr for Backbone {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|backbone| backbone.name() == name)
            .ok_or_else(|| Error::UnknownBackbone { name: name.into() })
    }
}
