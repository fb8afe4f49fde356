//! What a backbone is: its name, its stages and its input rule. No tensors here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::Network;
use crate::{efficientnet, filter_bank, resnet, vit};

/// Input sides must be a multiple of this many pixels: it is the side of one token.
pub const TOKEN_STRIDE: usize = 16;

/// The frozen networks (and the one filter bank) that can extract features.
///
/// The names are those of the command line and of saved models: `resnet18`, `wide-resnet50-2`, ...
///
/// ```
/// use dualad_backbones::Backbone;
///
/// let backbone: Backbone = "wide-resnet50-2".parse()?;
/// assert_eq!(backbone, Backbone::WideResNet50x2);
/// // What DualAD reads from it, known before any weight is:
/// let stages = backbone.default_stages();
/// assert_eq!(stages.iter().map(|s| s.channels).sum::<usize>(), 1792);
/// assert_eq!(stages.iter().map(|s| s.stride).collect::<Vec<_>>(), [4, 8, 16]);
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Backbone {
    /// ResNet-18 (He et al., CVPR 2016), torchvision's layout.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-34, torchvision's layout.
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50, torchvision's layout ("v1.5": the stride sits on the 3x3 convolution). Weights of [`Self::ResNet50V1`] have the
    /// same names and shapes: they load without an error, and give other features.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// ResNet-50 as first published ("v1": the stride sits on the first 1x1 convolution).
    #[serde(rename = "resnet50-v1")]
    ResNet50V1,
    /// Wide ResNet-50-2 (Zagoruyko and Komodakis, BMVC 2016), torchvision's layout: the paper's best backbone.
    #[serde(rename = "wide-resnet50-2")]
    WideResNet50x2,
    /// EfficientNet-B4 (Tan and Le, ICML 2019), the TensorFlow flavour (`tf_efficientnet_b4` in timm):
    /// "same" padding and batch norm eps 1e-3. The published configuration's. Weights of [`Self::EfficientNetB4Timm`] have the
    /// same names and shapes: they load without an error, and give other features.
    #[serde(rename = "efficientnet-b4")]
    EfficientNetB4,
    /// EfficientNet-B4 as timm trained it (`efficientnet_b4`): symmetric padding and batch norm eps 1e-5.
    #[serde(rename = "efficientnet-b4-timm")]
    EfficientNetB4Timm,
    /// ViT-S/16 (Dosovitskiy et al., ICLR 2021) with DINO's weights (Caron et al., ICCV 2021).
    #[serde(rename = "vit-small-dino")]
    VitSmallDino,
    /// Oriented band-pass energies and local colour statistics: needs no weights. See [`crate::FilterBank`].
    #[serde(rename = "filter-bank")]
    FilterBank,
}

/// One stage of a backbone: where a feature map is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stage {
    /// The stage's number, from 1, as in the paper's Table of backbones.
    pub index: usize,
    /// Channels of the stage's map.
    pub channels: usize,
    /// Input pixels per map cell, in each direction.
    pub stride: usize,
}

impl Stage {
    /// A stage of any feature maps, also of those that no backbone here made.
    pub const fn new(index: usize, channels: usize, stride: usize) -> Self {
        Self { index, channels, stride }
    }

    /// The shape `[channels, rows, columns]` of this stage's map for an input of `height` x `width` pixels.
    ///
    /// A side that the stride does not divide (only possible for strides over 16) is rounded up, as strided
    /// convolutions with padding do.
    pub const fn map_shape(&self, height: usize, width: usize) -> [usize; 3] {
        if self.stride == 0 {
            // Only a caller can make such a stage up.
            return [self.channels, 0, 0];
        }
        [self.channels, height.div_ceil(self.stride), width.div_ceil(self.stride)]
    }
}

/// Both sides of an input must be a positive multiple of [`TOKEN_STRIDE`].
pub(crate) fn check_input_size(height: usize, width: usize) -> Result<()> {
    let fits = |side: usize| side > 0 && side.is_multiple_of(TOKEN_STRIDE);
    if fits(height) && fits(width) { Ok(()) } else { Err(Error::InputSize { height, width }) }
}

/// A file on the Hugging Face hub.
///
/// ```
/// use dualad_backbones::{Backbone, HubFile};
///
/// let file = HubFile::new("timm/resnet18.tv_in1k");
/// assert_eq!(Backbone::ResNet18.hub_file(), Some(file.clone()));
/// let other = file.revision("v1.0").filename("weights/best.safetensors");
/// assert_eq!(other.to_string(), "timm/resnet18.tv_in1k@v1.0/weights/best.safetensors");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HubFile {
    /// `owner/name` of a model repository.
    pub repo: String,
    /// A branch, a tag or, better, a commit.
    pub revision: String,
    /// The file's path inside the repository.
    pub filename: String,
    /// The SHA-256 that the file must have, in lower-case hexadecimal, if one is demanded.
    pub sha256: Option<String>,
}

impl HubFile {
    /// `model.safetensors` on the branch `main` of a repository; change the fields for anything else.
    pub fn new(repo: impl Into<String>) -> Self {
        Self { repo: repo.into(), revision: "main".into(), filename: "model.safetensors".into(), sha256: None }
    }

    /// The same file at a given branch, tag or commit.
    #[must_use]
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Another file of the same repository.
    #[must_use]
    pub fn filename(mut self, filename: impl Into<String>) -> Self {
        self.filename = filename.into();
        self
    }

    /// Demand this SHA-256 (hexadecimal).
    #[must_use]
    pub fn sha256(mut self, hex: impl Into<String>) -> Self {
        self.sha256 = Some(hex.into().to_ascii_lowercase());
        self
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.repo, self.revision, self.filename)
    }
}

impl Backbone {
    /// Every backbone, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet50V1,
        Self::WideResNet50x2,
        Self::EfficientNetB4,
        Self::EfficientNetB4Timm,
        Self::VitSmallDino,
        Self::FilterBank,
    ];

    /// The name used on command lines and in saved models.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet50V1 => "resnet50-v1",
            Self::WideResNet50x2 => "wide-resnet50-2",
            Self::EfficientNetB4 => "efficientnet-b4",
            Self::EfficientNetB4Timm => "efficientnet-b4-timm",
            Self::VitSmallDino => "vit-small-dino",
            Self::FilterBank => "filter-bank",
        }
    }

    /// Every stage the backbone has, first to last.
    pub fn stages(self) -> Vec<Stage> {
        match self.network() {
            Some(network) => network.stages(),
            None => filter_bank::STAGES.to_vec(),
        }
    }

    /// The stages that DualAD reads: 1 to 3 of the ResNets, 1 to 4 of EfficientNet-B4 and ViT-S (method, section 2).
    pub fn default_stages(self) -> Vec<Stage> {
        let used = match self {
            Self::EfficientNetB4 | Self::EfficientNetB4Timm | Self::VitSmallDino => 4,
            _ => 3,
        };
        let mut stages = self.stages();
        stages.truncate(used);
        stages
    }

    /// The network's description, or `None` for the filter bank, which has no layers to load.
    ///
    /// A description holds no weights: it costs microseconds.
    pub fn network(self) -> Option<Network> {
        Some(match self {
            Self::ResNet18 => resnet::describe(&resnet::RESNET18),
            Self::ResNet34 => resnet::describe(&resnet::RESNET34),
            Self::ResNet50 => resnet::describe(&resnet::RESNET50),
            Self::ResNet50V1 => resnet::describe(&resnet::RESNET50_V1),
            Self::WideResNet50x2 => resnet::describe(&resnet::WIDE_RESNET50_2),
            Self::EfficientNetB4 => efficientnet::describe(&efficientnet::B4_TF),
            Self::EfficientNetB4Timm => efficientnet::describe(&efficientnet::B4_TIMM),
            Self::VitSmallDino => vit::describe(&vit::SMALL_16),
            Self::FilterBank => return None,
        })
    }

    /// Where the hub keeps this backbone's weights, if it does.
    pub fn hub_file(self) -> Option<HubFile> {
        let repo = match self {
            Self::ResNet18 => "timm/resnet18.tv_in1k",
            Self::ResNet34 => "timm/resnet34.tv_in1k",
            Self::ResNet50 => "timm/resnet50.tv_in1k",
            Self::WideResNet50x2 => "timm/wide_resnet50_2.tv_in1k",
            Self::EfficientNetB4 => "timm/tf_efficientnet_b4.aa_in1k",
            Self::EfficientNetB4Timm => "timm/efficientnet_b4.ra2_in1k",
            Self::VitSmallDino => "timm/vit_small_patch16_224.dino",
            Self::ResNet50V1 | Self::FilterBank => return None,
        };
        Some(HubFile::new(repo))
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
