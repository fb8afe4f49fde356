//! The bank of normal tokens: stage maps to a category and to distances (docs/method.md, section 9).

use dualad::parts::{CategoryRule, CategoryTokens, Matrix, ScaleParts};

use crate::graph::{Graph, Value, int, ints};

/// The half of a distance that no token has: it keeps the place of a token that a category does not have.
const NO_TOKEN: f32 = 1e30;

/// The category of each image.
#[derive(Debug)]
pub(crate) enum Category {
    /// One that all images have.
    Only(usize),
    /// The number of the category, `[batch, 1]` in i64.
    Each(Value),
}

/// The tokens of a scale as constants.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// `[categories, tokens, dims]`.
    values: Value,
    /// The same, `[categories * tokens, dims]`.
    flat_values: Value,
    /// The positions times the scale of their category, `[categories, tokens, 2]`.
    positions: Value,
    /// The same, `[categories * tokens, 2]`.
    flat_positions: Value,
    /// Half the squared length of each token with its position, `[categories, 1, tokens]`.
    halves: Value,
    /// `[categories * tokens]`.
    weights: Value,
    /// The position scale of each category, `[categories, 1, 1]`.
    scales: Value,
    /// The number of tokens of each category, those that stand for none included.
    count: usize,
}

/// The queries of images.
struct Queries<'a> {
    /// `[batch, queries, dims]`.
    tokens: &'a Value,
    /// `[queries, 2]`.
    positions: &'a Value,
}

/// Writes the tokens of images at a scale, `[batch, cells, dims]`, from the maps of all stages.
pub(crate) fn queries(graph: &mut Graph, scale: &ScaleParts, maps: &[Value]) -> Value {
    graph.begin("bank_tokens");
    let ScaleParts { grid: [rows, columns], dims, neighborhood, stages, offset, .. } = scale;
    let mut sum: Option<Value> = None;
    for stage in stages {
        let Some(map) = maps.get(stage.stage) else { continue };
        let channels = stage.components.len() / (*dims).max(1);
        let components = graph.floats(&[*dims, channels, 1, 1], &stage.components);
        // All steps are linear: the projection comes first, and makes the maps small.
        let mut tokens = graph.node("Conv", &[map, &components], vec![ints("kernel_shape", &[1, 1])]);
        if *neighborhood > 1 {
            let (side, reach) = (*neighborhood as i64, (*neighborhood / 2) as i64);
            let attributes = vec![
                ints("kernel_shape", &[side; 2]),
                ints("pads", &[reach; 4]),
                ints("strides", &[1, 1]),
                int("count_include_pad", 0),
            ];
            tokens = graph.node("AveragePool", &[&tokens], attributes);
        }
        if let Some([down, across]) = &stage.resize {
            tokens = apply(graph, [down, across], &tokens);
        }
        sum = Some(match sum {
            Some(sum) => graph.add(&sum, &tokens),
            None => tokens,
        });
    }
    let offset = graph.floats(&[1, *dims, 1, 1], offset);
    let tokens = match sum {
        Some(sum) => graph.add(&sum, &offset),
        None => offset,
    };
    crate::backbone::cells(graph, &tokens, *dims, rows * columns)
}

/// Multiplies values by a matrix from the left and one from the right.
pub(crate) fn apply(graph: &mut Graph, [left, right]: [&Matrix; 2], x: &Value) -> Value {
    let [left, right] = [left, right].map(|matrix| graph.floats(&[matrix.rows, matrix.columns], &matrix.values));
    let product = graph.matmul(&left, x);
    graph.matmul(&product, &right)
}

/// Returns the category of all images, if only one has local tokens.
pub(crate) fn only_category(local: &ScaleParts) -> Option<usize> {
    let categories = local.categories.iter().enumerate();
    let mut filled = categories.filter(|(_, category)| !category.weights.is_empty()).map(|(index, _)| index);
    let first = filled.next().unwrap_or(0);
    filled.next().is_none().then_some(first)
}

/// Writes the choice of each image's category from its local tokens, `[batch, cells, dims]`.
pub(crate) fn category(
    graph: &mut Graph,
    rule: &CategoryRule,
    scale: &ScaleParts,
    tokens: &Tokens,
    local: &Value,
) -> Category {
    let categories = &scale.categories;
    graph.begin("category");
    let cells: Vec<i64> = rule.cells.iter().map(|&cell| cell as i64).collect();
    let indices = graph.integers(&cells);
    let sampled = graph.gather(local, &indices, 1);
    let places: Vec<f32> =
        rule.cells.iter().flat_map(|cell| scale.positions.iter().skip(2 * cell).take(2)).copied().collect();
    let places = graph.floats(&[rule.cells.len(), 2], &places);

    // The coarse distance of each category: [batch, categories].
    let count = categories.iter().map(|category| category.weights.len().min(rule.coarse_tokens)).max().unwrap_or(0);
    let mut halves = Vec::new();
    for category in categories {
        let own = category.weights.len().min(count);
        halves.extend(category.values.chunks_exact(scale.dims.max(1)).take(own).map(half_square));
        halves.extend(std::iter::repeat_n(NO_TOKEN, count - own));
    }
    let all = categories.len() * count;
    let values = graph.slice(&tokens.values, 1, 0, count);
    let values = table(graph, &values, all, scale.dims);
    let values = graph.transpose(&values, &[1, 0]);
    let halves = graph.floats(&[all], &halves);
    let products = graph.matmul(&sampled, &values);
    let half = graph.sub(&halves, &products);
    let half = graph.reshape(&half, &[0, rule.cells.len(), categories.len(), count]);
    let half = graph.reduce("ReduceMin", &half, &[3], false);
    // |q - b|^2 = |q|^2 + 2 (|b|^2 / 2 - q b)
    let squares = graph.mul(&sampled, &sampled);
    let own = graph.sum_last(&squares, true);
    let twice = graph.scale(&half, 2.0);
    let square = graph.add(&own, &twice);
    let square = graph.at_least(&square, 0.0);
    let distance = graph.unary("Sqrt", &square);
    let coarse = graph.reduce("ReduceMean", &distance, &[1], false);

    // The nearest few, and the mean weighted distance of each: [batch, few].
    let few = rule.most.min(categories.len());
    let k = graph.integers(&[few as i64]);
    let attributes = vec![int("axis", 1), int("largest", 0), int("sorted", 1)];
    let [least, near] = graph.outputs("TopK", &[&coarse, &k], attributes);
    let nearest = graph.slice(&least, 1, 0, 1);
    let limit = graph.scale(&nearest, rule.near);
    let is_far = graph.node("Greater", &[&least, &limit], Vec::new());
    let weighted = weighted_few(graph, tokens, &Queries { tokens: &sampled, positions: &places }, &near, few);
    let mean = graph.reduce("ReduceMean", &weighted, &[2], false);
    let never = graph.number(NO_TOKEN);
    let mean = graph.node("Where", &[&is_far, &never, &mean], Vec::new());
    let place = graph.node("ArgMin", &[&mean], vec![int("axis", 1), int("keepdims", 1)]);
    Category::Each(graph.node("GatherElements", &[&near, &place], vec![int("axis", 1)]))
}

/// Writes the weighted distance of each token of an image to the nearest token of its category, `[batch, rows, columns]`.
pub(crate) fn distances(
    graph: &mut Graph,
    scale: &ScaleParts,
    tokens: &Tokens,
    queries: &Value,
    category: &Category,
) -> Value {
    graph.begin("bank");
    let [rows, columns] = scale.grid;
    let places = graph.floats(&[rows * columns, 2], &scale.positions);
    let queries = Queries { tokens: queries, positions: &places };
    let weighted = match category {
        Category::Each(category) => weighted_few(graph, tokens, &queries, category, 1),
        Category::Only(_) => weighted_one(graph, tokens, &queries),
    };
    graph.reshape(&weighted, &[0, rows, columns])
}

/// Writes the weighted distances to the nearest tokens of the only category, `[batch, queries]`.
fn weighted_one(graph: &mut Graph, tokens: &Tokens, Queries { tokens: query, positions }: &Queries<'_>) -> Value {
    let places = graph.mul(positions, &tokens.scales);
    let values = graph.transpose(&tokens.values, &[0, 2, 1]);
    let products = graph.matmul(query, &values);
    let turned = graph.transpose(&tokens.positions, &[0, 2, 1]);
    let by_place = graph.matmul(&places, &turned);
    let rest = graph.sub(&tokens.halves, &by_place);
    let half = graph.sub(&rest, &products);
    let nearest = graph.node("ArgMin", &[&half], vec![int("axis", 2), int("keepdims", 0)]);
    let distance = exact(graph, tokens, &nearest, query, &places);
    let weights = graph.gather(&tokens.weights, &nearest, 0);
    graph.mul(&distance, &weights)
}

/// Writes the weighted distances to the nearest tokens of some categories, `[batch, few, queries]`. `categories` are `[batch, few]`.
fn weighted_few(
    graph: &mut Graph,
    tokens: &Tokens,
    Queries { tokens: query, positions }: &Queries<'_>,
    categories: &Value,
    few: usize,
) -> Value {
    // [batch, few, 1, 1] x [queries, 2]
    let scales = graph.gather(&tokens.scales, categories, 0);
    let places = graph.mul(positions, &scales);
    let query = graph.unsqueeze(query, &[1]);
    let values = graph.gather(&tokens.values, categories, 0);
    let values = graph.transpose(&values, &[0, 1, 3, 2]);
    let products = graph.matmul(&query, &values);
    let by_category = graph.gather(&tokens.positions, categories, 0);
    let by_category = graph.transpose(&by_category, &[0, 1, 3, 2]);
    let by_place = graph.matmul(&places, &by_category);
    let halves = graph.gather(&tokens.halves, categories, 0);
    let rest = graph.sub(&halves, &by_place);
    let half = graph.sub(&rest, &products);
    let nearest = graph.node("ArgMin", &[&half], vec![int("axis", 3), int("keepdims", 0)]);
    // The place among the tokens of all categories.
    let count = graph.integers(&[tokens.count as i64]);
    let first = graph.mul(categories, &count);
    let first = graph.reshape(&first, &[0, few, 1]);
    let nearest = graph.add(&first, &nearest);
    let distance = exact(graph, tokens, &nearest, &query, &places);
    let weights = graph.gather(&tokens.weights, &nearest, 0);
    graph.mul(&distance, &weights)
}

/// Writes the distance of each query to a token, from the differences: those of lengths and products lose digits where a token is near.
fn exact(graph: &mut Graph, tokens: &Tokens, nearest: &Value, query: &Value, places: &Value) -> Value {
    let mut squares = |table: &Value, to: &Value| {
        let found = graph.gather(table, nearest, 0);
        let difference = graph.sub(&found, to);
        let squares = graph.mul(&difference, &difference);
        graph.sum_last(&squares, false)
    };
    let (by_value, by_place) = (squares(&tokens.flat_values, query), squares(&tokens.flat_positions, places));
    let square = graph.add(&by_value, &by_place);
    graph.unary("Sqrt", &square)
}

/// Adds the tokens of a scale, of the only category or of all. All have as many tokens as the largest one: those that are added are
/// never the nearest.
pub(crate) fn tokens(graph: &mut Graph, scale: &ScaleParts, only: Option<usize>) -> Tokens {
    graph.begin("bank");
    let dims = scale.dims;
    let categories: Vec<&CategoryTokens> = match only {
        Some(only) => scale.categories.iter().skip(only).take(1).collect(),
        None => scale.categories.iter().collect(),
    };
    let count = categories.iter().map(|category| category.weights.len()).max().unwrap_or(0).max(1);
    let (mut values, mut positions, mut halves, mut weights) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for CategoryTokens { values: own, positions: places, weights: factors, position_scale, .. } in &categories {
        let places: Vec<f32> = places.iter().map(|x| x * position_scale).collect();
        let rows = own.chunks_exact(dims.max(1)).zip(places.chunks_exact(2));
        halves.extend(rows.map(|(token, place)| half_square(&[token, place].concat())));
        values.extend_from_slice(own);
        positions.extend(places);
        weights.extend_from_slice(factors);
        let missing = count - factors.len();
        halves.extend(std::iter::repeat_n(NO_TOKEN, missing));
        values.extend(std::iter::repeat_n(0.0, missing * dims));
        positions.extend(std::iter::repeat_n(0.0, missing * 2));
        // A category without tokens has the distance 0.
        weights.extend(std::iter::repeat_n(0.0, missing));
    }
    let all = categories.len();
    let scales: Vec<f32> = categories.iter().map(|category| category.position_scale).collect();
    let values = graph.floats(&[all, count, dims], &values);
    let positions = graph.floats(&[all, count, 2], &positions);
    Tokens {
        // One constant in two shapes: the file holds it once.
        flat_values: table(graph, &values, all * count, dims),
        flat_positions: table(graph, &positions, all * count, 2),
        values,
        positions,
        halves: graph.floats(&[all, 1, count], &halves),
        weights: graph.floats(&[all * count], &weights),
        scales: graph.floats(&[all, 1, 1], &scales),
        count,
    }
}

/// Writes values as rows of a width.
fn table(graph: &mut Graph, values: &Value, rows: usize, width: usize) -> Value {
    let shape = graph.integers(&[rows as i64, width as i64]);
    graph.node("Reshape", &[values, &shape], Vec::new())
}

fn half_square(token: &[f32]) -> f32 {
    (0.5 * token.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()) as f32
}
