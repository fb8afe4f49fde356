//! Names of backbones.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hub_file::HubFile;

/// A frozen feature extractor: a pretrained network, or the filter bank.
///
/// The names are those of the command line and of saved models: `resnet18`, `wide-resnet50-2`, ...
///
/// ```
/// use dualad_backbones::Backbone;
///
/// let backbone: Backbone = "wide-resnet50-2".parse()?;
/// assert_eq!(backbone, Backbone::WideResNet50x2);
/// // Stages are known before any weights are loaded.
/// let stages = backbone.default_stages();
/// assert_eq!(stages.iter().map(|s| s.channels).sum::<usize>(), 1792);
/// assert_eq!(stages.iter().map(|s| s.stride).collect::<Vec<_>>(), [4, 8, 16]);
/// # Ok::<(), dualad_backbones::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Backbone {
    /// ResNet-18 (He et al., CVPR 2016) in torchvision's variant.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-34 in torchvision's variant.
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50 in torchvision's variant ("v1.5": the 3x3 convolution has the stride). Weights of [`Self::ResNet50V1`] have the
    /// same names and shapes: they load without an error and give other features.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// ResNet-50 as first published ("v1": the first 1x1 convolution has the stride).
    #[serde(rename = "resnet50-v1")]
    ResNet50V1,
    /// Wide ResNet-50-2 (Zagoruyko and Komodakis, BMVC 2016) in torchvision's variant: DualAD's best backbone.
    #[serde(rename = "wide-resnet50-2")]
    WideResNet50x2,
    /// EfficientNet-B4 (Tan and Le, ICML 2019) in TensorFlow's variant (`tf_efficientnet_b4` in timm):
    /// "same" padding and batch norm eps 1e-3. DualAD's published configuration uses it. Weights of [`Self::EfficientNetB4Timm`]
    /// have the same names and shapes: they load without an error and give other features.
    #[serde(rename = "efficientnet-b4")]
    EfficientNetB4,
    /// EfficientNet-B4 in timm's variant (`efficientnet_b4`): symmetric padding and batch norm eps 1e-5.
    #[serde(rename = "efficientnet-b4-timm")]
    EfficientNetB4Timm,
    /// ViT-S/16 (Dosovitskiy et al., ICLR 2021) with DINO's weights (Caron et al., ICCV 2021).
    #[serde(rename = "vit-small-dino")]
    VitSmallDino,
    /// ViT-S/14 with DINOv2's weights (Oquab et al., TMLR 2024; Apache-2.0): tokens of 14 x 14 pixels. The position embedding was
    /// learned for 518 x 518 pixels and is interpolated for other sizes as timm does (`resample_abs_pos_embed`).
    #[serde(rename = "dinov2-small")]
    DinoV2Small,
    /// ViT-B/14, otherwise as [`Self::DinoV2Small`].
    #[serde(rename = "dinov2-base")]
    DinoV2Base,
    /// ViT-L/14, otherwise as [`Self::DinoV2Small`].
    #[serde(rename = "dinov2-large")]
    DinoV2Large,
    /// ViT-S/14 with four registers and DINOv2's weights (Darcet et al., ICLR 2024; Apache-2.0). Registers remove tokens of large
    /// magnitude in even regions.
    #[serde(rename = "dinov2-reg-small")]
    DinoV2RegSmall,
    /// ViT-B/14, otherwise as [`Self::DinoV2RegSmall`].
    #[serde(rename = "dinov2-reg-base")]
    DinoV2RegBase,
    /// ViT-L/14, otherwise as [`Self::DinoV2RegSmall`].
    #[serde(rename = "dinov2-reg-large")]
    DinoV2RegLarge,
    /// ViT-S/16 with DINOv3's weights (Simeoni et al., 2025): rotary positions and four registers. The weights are under Meta's own
    /// DINOv3 License; read its terms before use.
    #[serde(rename = "dinov3-small")]
    DinoV3Small,
    /// ViT-B/16, otherwise as [`Self::DinoV3Small`].
    #[serde(rename = "dinov3-base")]
    DinoV3Base,
    /// ViT-L/16, otherwise as [`Self::DinoV3Small`].
    #[serde(rename = "dinov3-large")]
    DinoV3Large,
    /// Oriented band-pass energies and local color statistics (`docs/filter-bank.md`). It has no weights.
    ///
    /// It always computes in f32 on the CPU. Images are moved there, and maps are moved to the requested device and converted to the
    /// requested dtype.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use dualad_backbones::{Backbone, FeatureExtractor};
    ///
    /// let extractor = Backbone::FilterBank.extractor().stages(&[3]).build()?;
    /// let even = Tensor::full(0.5f32, (1, 3, 16, 16), &Device::Cpu)?;
    /// let token = extractor.tokens(&even)?.flatten_all()?.to_vec1::<f32>()?;
    /// // A constant image has no energies: only the mean luminance is not zero.
    /// let rest = [&token[..12], &token[13..]].concat();
    /// assert!((token[12] - 0.5).abs() < 1e-3 && rest.iter().all(|x| x.abs() < 1e-3));
    /// # Ok::<(), dualad_backbones::Error>(())
    /// ```
    #[serde(rename = "filter-bank")]
    FilterBank,
}

impl Backbone {
    /// Every backbone, in the order of the documentation.
    pub const ALL: [Self; 18] = [
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet50V1,
        Self::WideResNet50x2,
        Self::EfficientNetB4,
        Self::EfficientNetB4Timm,
        Self::VitSmallDino,
        Self::DinoV2Small,
        Self::DinoV2Base,
        Self::DinoV2Large,
        Self::DinoV2RegSmall,
        Self::DinoV2RegBase,
        Self::DinoV2RegLarge,
        Self::DinoV3Small,
        Self::DinoV3Base,
        Self::DinoV3Large,
        Self::FilterBank,
    ];

    /// Returns the name used on command lines and in saved models.
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
            Self::DinoV2Small => "dinov2-small",
            Self::DinoV2Base => "dinov2-base",
            Self::DinoV2Large => "dinov2-large",
            Self::DinoV2RegSmall => "dinov2-reg-small",
            Self::DinoV2RegBase => "dinov2-reg-base",
            Self::DinoV2RegLarge => "dinov2-reg-large",
            Self::DinoV3Small => "dinov3-small",
            Self::DinoV3Base => "dinov3-base",
            Self::DinoV3Large => "dinov3-large",
            Self::FilterBank => "filter-bank",
        }
    }

    /// Returns whether the backbone needs weights. Only the filter bank does not.
    pub const fn has_weights(self) -> bool {
        !matches!(self, Self::FilterBank)
    }

    /// Returns the file of this backbone's weights on the hub, or `None` if the hub has none.
    pub fn hub_file(self) -> Option<HubFile> {
        let repo = match self {
            Self::ResNet18 => "timm/resnet18.tv_in1k",
            Self::ResNet34 => "timm/resnet34.tv_in1k",
            Self::ResNet50 => "timm/resnet50.tv_in1k",
            Self::WideResNet50x2 => "timm/wide_resnet50_2.tv_in1k",
            Self::EfficientNetB4 => "timm/tf_efficientnet_b4.aa_in1k",
            Self::EfficientNetB4Timm => "timm/efficientnet_b4.ra2_in1k",
            Self::VitSmallDino => "timm/vit_small_patch16_224.dino",
            Self::DinoV2Small => "timm/vit_small_patch14_dinov2.lvd142m",
            Self::DinoV2Base => "timm/vit_base_patch14_dinov2.lvd142m",
            Self::DinoV2Large => "timm/vit_large_patch14_dinov2.lvd142m",
            Self::DinoV2RegSmall => "timm/vit_small_patch14_reg4_dinov2.lvd142m",
            Self::DinoV2RegBase => "timm/vit_base_patch14_reg4_dinov2.lvd142m",
            Self::DinoV2RegLarge => "timm/vit_large_patch14_reg4_dinov2.lvd142m",
            Self::DinoV3Small => "timm/vit_small_patch16_dinov3.lvd1689m",
            Self::DinoV3Base => "timm/vit_base_patch16_dinov3.lvd1689m",
            Self::DinoV3Large => "timm/vit_large_patch16_dinov3.lvd1689m",
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
