//! Where each parameter stands in one flat vector: projections that are read together stand together.

use std::collections::BTreeMap;

use crate::config::DualAdConfig;
use crate::error::Result;

/// The trained parameters' places.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Name, shape and offset, in the order of the vector.
    pub(crate) parameters: Vec<(String, Vec<usize>, usize)>,
    offsets: BTreeMap<String, usize>,
    /// Numbers in all.
    pub(crate) length: usize,
}

impl Layout {
    pub(crate) fn new(config: &DualAdConfig) -> Result<Self> {
        let mut listed: Vec<_> = config.parameters()?.into_iter().filter(|parameter| parameter.trained).collect();
        // Stable: everything else keeps its order.
        let key = |name: &str| -> (String, u8) {
            for (rank, part) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
                if let Some((attention, kind)) = name.split_once(&format!(".{part}.")) {
                    return (format!("{attention}.{kind}"), rank as u8);
                }
            }
            (name.to_owned(), 0)
        };
        listed.sort_by_cached_key(|parameter| key(&parameter.name));
        let (mut parameters, mut offsets, mut length) = (Vec::new(), BTreeMap::new(), 0);
        for parameter in listed {
            let count: usize = parameter.shape.iter().product();
            offsets.insert(parameter.name.clone(), length);
            parameters.push((parameter.name, parameter.shape, length));
            length += count;
        }
        Ok(Self { parameters, offsets, length })
    }

    /// The place of a parameter that the configuration has.
    pub(crate) fn offset(&self, name: &str) -> Option<usize> {
        self.offsets.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variant;
    use dualad_backbones::Backbone;

    #[test]
    fn projections_of_one_attention_stand_together() {
        let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::ResNet18);
        let layout = Layout::new(&config).unwrap();
        assert_eq!(layout.length, config.parameter_count().unwrap());
        let (width, at) = (256, |name: &str| layout.offset(&format!("decoder.layers.2.attn2.{name}")).unwrap());
        assert_eq!(at("k_proj.weight"), at("q_proj.weight") + width * width);
        assert_eq!(at("v_proj.weight"), at("k_proj.weight") + width * width);
        assert_eq!(at("k_proj.bias"), at("q_proj.bias") + width);
        assert_eq!(at("v_proj.bias"), at("k_proj.bias") + width);
        let mut end = 0;
        for (name, shape, offset) in &layout.parameters {
            assert_eq!(*offset, end, "{name}");
            end += shape.iter().product::<usize>();
        }
        assert_eq!(end, layout.length);
    }
}
