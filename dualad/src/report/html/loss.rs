//! The chart of the training loss by epoch.

use super::axis::{Axis, drawable};
use super::number::significant;
use super::svg::{Plot, Size, chart, circle, line, path, text, through};
use crate::report::Reported;

const SIZE: Size = Size { width: 460.0, height: 240.0 };
const PLOT: Plot = Plot { left: 44.0, right: 452.0, top: 26.0, bottom: 200.0 };
/// The maximum number of points: about the chart's width in pixels.
const MAX_POINTS: usize = 1200;
/// The ratio of the largest to the smallest loss from which on the axis is logarithmic.
const WIDE: f64 = 10.0;

/// Returns the chart. Empty if no loss can be drawn.
pub(super) fn loss(id: &str, loss: &[f64], reported: Reported) -> String {
    let epochs = loss.iter().enumerate().map(|(index, &loss)| [(index + 1) as f64, loss]);
    let epochs: Vec<[f64; 2]> = epochs.filter(|&[_, loss]| drawable(loss)).collect();
    let (Some(&first), Some(&last)) = (epochs.first(), epochs.last()) else { return String::new() };
    let low = epochs.iter().map(|epoch| epoch[1]).fold(f64::INFINITY, f64::min);
    let high = epochs.iter().map(|epoch| epoch[1]).fold(f64::NEG_INFINITY, f64::max);

    let logarithmic = low > 0.0 && high / low >= WIDE;
    let y = if logarithmic {
        Axis::logarithmic([low, high], [PLOT.bottom, PLOT.top])
    } else if low >= 0.0 && high > 0.0 {
        PLOT.y([0.0, high])
    } else {
        PLOT.y([low, high])
    };
    let count = loss.len() as f64;
    let x = PLOT.x([if count > 1.0 { 1.0 } else { 0.0 }, count]);
    let mut content = String::new();
    if count > 1.0 {
        content += &text("tick middle", [x.at(1.0), PLOT.bottom + 15.0], "1");
    }
    for tick in
        x.ticks(6).iter().filter(|tick| tick.value.fract() == 0.0 && tick.value > if count > 1.0 { 1.0 } else { 0.0 })
    {
        content += &text("tick middle", [x.at(tick.value), PLOT.bottom + 15.0], &format!("{}", tick.value));
    }
    content += &text("axis end", [PLOT.right, PLOT.bottom + 32.0], "epoch");
    let scale = if logarithmic { "mean loss, logarithmic" } else { "mean loss" };
    content += &PLOT.axis_left(&y, 5, scale);
    content += &PLOT.frame();
    let stride = epochs.len().div_ceil(MAX_POINTS).max(1);
    // The mean of each group of epochs, and the last epoch itself, which the text quotes.
    let thinned = epochs.chunks(stride).map(|part| {
        let mean = |of: usize| part.iter().map(|epoch| epoch[of]).sum::<f64>() / part.len() as f64;
        [x.at(mean(0)), y.at(mean(1))]
    });
    content += &path("curve image", &through(thinned.chain([[x.at(last[0]), y.at(last[1])]])));
    content += &circle("dot", [x.at(last[0]), y.at(last[1])], 3.0);
    if let Reported::BestOnTestSet { epoch } = reported {
        let place = x.at(epoch as f64);
        content += &line("threshold", [place, PLOT.top - 4.0], [place, PLOT.bottom]);
        let middle = place.clamp(PLOT.left + 120.0, PLOT.right - 52.0);
        content += &text("label middle", [middle, PLOT.top - 9.0], &format!("reported: epoch {epoch}"));
    }
    let [first, last] = [first, last].map(|[epoch, loss]| format!("{} in epoch {epoch}", significant(loss, 3)));
    chart(SIZE, id, &format!("Mean training loss: {first}, {last}."), &content)
}
