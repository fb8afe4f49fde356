//! The forms in which a network's values are stored: f32, or bytes between convolutions that multiply bytes.

use dualad_kernels::{Buffer, ByteCells, Cells, Isa, Workspace};

use crate::network::{Network, Op};

/// The forms in which a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// True if it is stored in f32.
    pub(crate) floats: bool,
    /// True if it is stored as bytes.
    pub(crate) bytes: bool,
}

/// Returns the form of each value. Convolutions of bytes with a kernel of one cell read bytes: each cell has a scale of its own. Those
/// with a larger kernel read f32, because the cells of a map must have one scale. Either takes a residual in the form that is there.
/// `in_bytes` is true for layers that are convolutions of bytes.
pub(crate) fn forms(network: &Network, in_bytes: impl Fn(usize) -> bool) -> Vec<Form> {
    let mut forms = vec![Form { floats: false, bytes: false }; network.layers().len() + 1];
    for (index, layer) in network.layers().iter().enumerate() {
        let input = &mut forms[layer.input.index()];
        match &layer.op {
            Op::Conv(conv) if in_bytes(index) && conv.kernel == 1 => input.bytes = true,
            _ => input.floats = true,
        }
        if let Some(residual) = layer.residual
            && !in_bytes(index)
        {
            forms[residual.index()].floats = true;
        }
    }
    for output in network.outputs() {
        forms[output.index()].floats = true;
    }
    for form in &mut forms {
        form.floats |= !form.bytes;
    }
    forms
}

/// A value in its forms.
#[derive(Debug)]
pub(crate) struct Stored {
    floats: Option<Buffer>,
    bytes: Option<ByteCells>,
}

impl Stored {
    /// Makes place for a value of `[positions, channels]` in the forms that it needs.
    pub(crate) fn take(form: Form, isa: Isa, [positions, channels]: [usize; 2], workspace: &mut Workspace) -> Self {
        let bytes = form.bytes.then(|| {
            let buffer = workspace.take(ByteCells::length(isa, positions, channels));
            ByteCells::new(isa, positions, channels, buffer)
        });
        Self { floats: form.floats.then(|| workspace.take(positions * channels)), bytes }
    }

    /// Returns the value in f32.
    pub(crate) fn floats(&self) -> &[f32] {
        self.floats.as_deref().unwrap_or_default()
    }

    /// Returns the value in its most exact form.
    pub(crate) fn cells(&self) -> Cells<'_> {
        match (&self.floats, &self.bytes) {
            (None, Some(bytes)) => Cells::Bytes(bytes),
            _ => Cells::F32(self.floats()),
        }
    }

    /// Returns the value as bytes if it is stored so, else in f32.
    pub(crate) fn bytes_or_floats(&self) -> Cells<'_> {
        self.bytes.as_ref().map_or_else(|| self.cells(), Cells::Bytes)
    }

    /// Returns the places of both forms.
    pub(crate) fn places(&mut self) -> (Option<&mut [f32]>, Option<&mut ByteCells>) {
        (self.floats.as_deref_mut(), self.bytes.as_mut())
    }

    /// Stores the f32 that a layer has written as bytes too, if the value needs them, and keeps the f32 only if it needs those.
    pub(crate) fn settle(&mut self, form: Form, workspace: &mut Workspace) {
        if let (Some(floats), Some(bytes)) = (&self.floats, &mut self.bytes) {
            bytes.quantize(floats);
        }
        if !form.floats
            && let Some(buffer) = self.floats.take()
        {
            workspace.release(buffer);
        }
    }

    /// Makes the memory available again.
    pub(crate) fn release(self, workspace: &mut Workspace) {
        self.floats
            .into_iter()
            .chain(self.bytes.map(ByteCells::into_buffer))
            .for_each(|buffer| workspace.release(buffer));
    }
}

impl From<Buffer> for Stored {
    fn from(floats: Buffer) -> Self {
        Self { floats: Some(floats), bytes: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Backbone;

    #[test]
    fn only_values_that_every_reader_takes_as_bytes_are_not_stored_in_f32() {
        for backbone in Backbone::ALL.into_iter().filter(|backbone| backbone.has_weights()) {
            let network = backbone.network().unwrap();
            assert!(forms(&network, |_| false).iter().all(|form| *form == Form { floats: true, bytes: false }));
            let in_bytes = |index: usize| matches!(&network.layers()[index].op, Op::Conv(conv) if conv.groups == 1 && conv.in_channels >= 32);
            let forms = forms(&network, in_bytes);
            assert!(network.outputs().all(|output| forms[output.index()].floats));
            for (index, layer) in network.layers().iter().enumerate() {
                let form = forms[layer.input.index()];
                match &layer.op {
                    Op::Conv(conv) if in_bytes(index) && conv.kernel == 1 => assert!(form.bytes),
                    _ => assert!(form.floats),
                }
                assert!(in_bytes(index) || layer.residual.is_none_or(|residual| forms[residual.index()].floats));
            }
            // In a block of three convolutions, the first and the last one read bytes.
            if backbone == Backbone::WideResNet50x2 {
                assert!(forms.iter().filter(|form| !form.floats).count() > 20);
            }
        }
    }
}
