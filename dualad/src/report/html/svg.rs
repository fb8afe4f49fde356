//! The elements of charts.

use super::axis::Axis;
use super::escape::escape;

/// A chart's outer size in its own units; the page scales it to the column's width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The part of a chart inside its axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot {
    pub(super) fn x(&self, ends: [f64; 2]) -> Axis {
        Axis::new(ends, [self.left, self.right])
    }

    pub(super) fn y(&self, ends: [f64; 2]) -> Axis {
        Axis::new(ends, [self.bottom, self.top])
    }

    /// Returns labels and grid lines of the horizontal axis, with a title below.
    pub(super) fn axis_below(&self, axis: &Axis, count: usize, title: &str) -> String {
        let mut svg = String::new();
        for tick in axis.ticks(count) {
            let x = axis.at(tick.value);
            svg += &line("grid", [x, self.top], [x, self.bottom]);
            svg += &text("tick middle", [x, self.bottom + 15.0], &tick.label);
        }
        svg + &text("axis end", [self.right, self.bottom + 32.0], title)
    }

    /// Returns labels and grid lines of the vertical axis, with a title above.
    pub(super) fn axis_left(&self, axis: &Axis, count: usize, title: &str) -> String {
        let mut svg = String::new();
        for tick in axis.ticks(count) {
            let y = axis.at(tick.value);
            svg += &line("grid", [self.left, y], [self.right, y]);
            svg += &text("tick end", [self.left - 7.0, y + 3.5], &tick.label);
        }
        svg + &text("axis", [0.0, self.top - 11.0], title)
    }

    pub(super) fn frame(&self) -> String {
        line("base", [self.left, self.bottom], [self.right, self.bottom])
    }
}

/// Returns the element around a chart; `title` describes it in words.
pub(super) fn chart(size: Size, id: &str, title: &str, content: &str) -> String {
    let Size { width, height } = size;
    let (id, title) = (escape(id), escape(title));
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}\"><title id=\"{id}\">{title}</title>\
         {content}</svg>"
    )
}

pub(super) fn line(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

pub(super) fn text(class: &str, [x, y]: [f64; 2], content: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(content))
}

pub(super) fn circle(class: &str, [x, y]: [f64; 2], radius: f64) -> String {
    format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>")
}

/// Returns a bar; `title` is its tooltip.
pub(super) fn bar(class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2], title: &str) -> String {
    let title = escape(title);
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
         <title>{title}</title></rect>"
    )
}

/// Returns the commands of a path through points, without points that would not be visible.
pub(super) fn through(points: impl IntoIterator<Item = [f64; 2]>) -> String {
    let mut commands = String::new();
    let mut last = String::new();
    for [x, y] in points {
        let point = format!("{x:.1} {y:.1}");
        if point != last {
            commands += if commands.is_empty() { "M" } else { "L" };
            commands += &point;
            last = point;
        }
    }
    commands
}

pub(super) fn path(class: &str, commands: &str) -> String {
    format!("<path class=\"{class}\" d=\"{commands}\"/>")
}
