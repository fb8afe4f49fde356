"""Counts, without a GPU, the kernel launches, uploads and bytes of a forward pass and of a training step on a CUDA device, and the
time that a card needs for them at least.

    python3 tools/gpu/launches.py [--bandwidth 4.8] [--f32 67] [--tf32 495] [--bf16 990]

Follows the Rust code operation by operation, with shapes in place of values: dualad/src/cdbn, dualad/src/score.rs,
dualad/src/bank/device.rs and dualad-backbones/src/engine/plain.rs for the passes, candle 0.11's src/backprop.rs for the gradients of the
graph, dualad/src/engine/device for the training step without a graph, and candle's src/cuda_backend for the launches of each operation. An upload is a small copy of a tensor's dimensions and strides to the device; candle makes one for each
operation on a strided tensor and for each sum. A product counts as one launch. Values are not computed, so a change of that code needs
the same change here.

For every part, `floor` is the larger of arithmetic / rate and smallest traffic / bandwidth (inputs, weights and outputs of the whole
part once); `as launched` adds up the larger of the two for each launch, with each operand and result through memory.
"""

import argparse
import math


class Count:
    def __init__(self, options, precision):
        self.rate = {"f32": options.f32, "tf32": options.tf32, "bf16": options.bf16}[precision] * 1e12
        self.vector = options.f32 * 1e12
        self.bandwidth = options.bandwidth * 1e12
        self.size = 2 if precision == "bf16" else 4
        self.launches = self.uploads = self.fills = 0
        self.flops = self.bytes = self.seconds = 0.0

    def launch(self, elements, flops=0.0, upload=False, product=False):
        self.launches += 1
        self.uploads += upload
        self.flops += flops
        moved = elements * self.size
        self.bytes += moved
        self.seconds += max(moved / self.bandwidth, flops / (self.rate if product else self.vector))

    def fill(self, elements):
        self.fills += 1
        self.launch(elements)


class Tensor:
    """A tensor on the device: its shape, whether it is contiguous, and the operation that made it, if a variable is behind it."""

    def __init__(self, count, shape, op=None, args=(), contiguous=True, stored=None, variable=False):
        self.count, self.shape, self.contiguous, self.variable = count, tuple(shape), contiguous, variable
        tracked = variable or any(arg.tracked for arg in args)
        self.tracked, self.op, self.args = tracked, op if tracked else None, args if tracked else ()
        self.elements = math.prod(self.shape)
        # The elements in memory: fewer where the tensor is broadcast.
        self.stored = self.elements if stored is None else stored

    def made(self, shape, op, args, **more):
        return Tensor(self.count, shape, op, args, **more)

    def unary(self, op="unary"):
        self.count.launch(self.stored + self.elements, self.elements, not self.contiguous)
        return self.made(self.shape, op, (self,))

    def binary(self, other, op="add"):
        other = other if other.shape == self.shape else other.broadcast(self.shape)
        self.count.launch(self.stored + other.stored + self.elements, self.elements, not (self.contiguous and other.contiguous))
        return self.made(self.shape, op, (self, other))

    def broadcast(self, shape):
        return self.made(shape, "broadcast", (self,), contiguous=False, stored=self.stored)

    def sum(self, axes):
        kept = [1 if axis in axes else side for axis, side in enumerate(self.shape)]
        self.count.launch(self.stored + math.prod(kept), self.elements, True)
        return self.made(kept, "sum", (self,))

    def mean(self, axes):
        return self.sum(axes).unary("affine")

    def reshape(self, *shape):
        if not self.contiguous:
            self.count.launch(2 * self.elements, 0, True)
        return self.made(shape, "reshape", (self,))

    def dense(self):
        if self.contiguous:
            return self
        self.count.launch(2 * self.elements, 0, True)
        return self.made(self.shape, "copy", (self,))

    def t(self):
        return self.made((*self.shape[:-2], self.shape[-1], self.shape[-2]), "transpose", (self,), contiguous=False)

    def narrow(self, axis, length):
        shape = [*self.shape]
        shape[axis] = length
        return self.made(shape, ("narrow", axis, self.shape[axis]), (self,), contiguous=False)

    def matmul(self, other):
        *batch, m, k = self.shape
        n = other.shape[-1]
        images = math.prod(batch)
        self.count.launch(self.elements + other.elements + images * m * n, 2.0 * images * m * n * k, False, True)
        return self.made((*batch, m, n), "matmul", (self, other))

    def cat(self, others, axis):
        shape = [*self.shape]
        shape[axis] = sum(other.shape[axis] for other in others)
        for other in others:
            self.count.launch(2 * other.elements)
        return self.made(shape, ("cat", axis), tuple(others))

    def own(self, shape, op, args, flops=0.0, elements=None):
        """A kernel of dualad-gpu."""
        shape = tuple(shape)
        self.count.launch(elements or sum(arg.elements for arg in args) + math.prod(shape), flops)
        return self.made(shape, op, tuple(args))


# ------------------------------------------------------------------------------------------------------------ backward passes


def backward(loss):
    """The gradients of candle's src/backprop.rs: each edge of the graph is a sum into the gradient of its argument."""
    count = loss.count
    count.launch(1)  # the ones
    order, seen, filled = [], set(), {id(loss)}

    def walk(node):
        if id(node) in seen or not node.tracked or node.variable:
            return
        seen.add(id(node))
        for arg in node.args:
            walk(arg)
        order.append(node)

    walk(loss)

    def add(arg, strided=False):
        if id(arg) not in filled:
            filled.add(id(arg))
            count.fill(arg.elements)
        count.launch(3 * arg.elements, arg.elements, strided)

    def elementwise(node, times):
        for _ in range(times):
            count.launch(3 * node.elements, node.elements)

    for node in reversed(order):
        kind = node.op[0] if isinstance(node.op, tuple) else node.op
        first = node.args[0]
        if kind in ("add", "sub"):
            for arg in node.args:
                add(arg)
        elif kind in ("mul", "div"):
            elementwise(node, 2 if kind == "mul" else 4)
            for arg in node.args:
                add(arg)
        elif kind == "broadcast":
            count.launch(node.elements + first.elements, node.elements, True)
            add(first)
        elif kind == "sum":
            add(first, True)
        elif kind in ("reshape", "copy"):
            add(first)
        elif kind == "transpose":
            add(first, True)
        elif kind == "rounding":
            count.launch(3 * node.elements)
            add(first)
        elif kind == "affine":
            elementwise(node, 1)
            add(first)
        elif kind == "sqr":
            elementwise(node, 2)
            add(first)
        elif kind == "relu":
            count.fill(node.elements)
            elementwise(node, 3)
            add(first)
        elif kind == "narrow":
            _, axis, whole = node.op
            rest = whole - node.shape[axis]
            pads = 1 if node.at_border else 2
            for _ in range(pads):
                count.fill(node.elements // node.shape[axis] * rest / pads)
            for _ in range(pads + 1):
                count.launch(2 * first.elements / (pads + 1))
            add(first)
        elif kind == "cat":
            for arg in node.args:
                add(arg, True)
        elif kind == "matmul":
            left, right = node.args
            m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
            images = math.prod(left.shape[:-2])
            for _ in range(2):
                count.launch(left.elements + right.elements + node.elements, 2.0 * images * m * n * k, False, True)
            add(left)
            add(right)
        elif kind == "linear":
            x, weight, _ = node.args
            for factor in (x, weight):
                if factor.tracked:
                    moved = node.elements + x.elements + weight.elements
                    count.launch(moved, 2.0 * node.elements * x.shape[-1], False, True)
            count.launch(node.elements, node.elements, True)
            for arg in node.args:
                if arg.tracked:
                    add(arg)
        elif kind == "dropout":
            count.launch(2 * node.elements, node.elements)
            add(first)
        elif kind in ("unit", "address"):
            count.launch(3 * node.elements, 6 * node.elements)
            add(first)
        elif kind == "layer norm":
            count.launch(3 * node.elements, 8 * node.elements)
            count.launch(2 * node.elements, 4 * node.elements)
            count.launch(1, 0, True)
            for arg in node.args:
                add(arg)
        elif kind == "attention":
            flops = node.flops
            for share, elements in ((0.5, 4), (1.5, 5), (2.0, 6)):
                count.launch(elements * node.elements, share * flops)
            for arg in node.args:
                add(arg)
        else:
            raise ValueError(f"no gradient of {node.op}")


# ---------------------------------------------------------------------------------------------------------------- the network


class Network:
    """dualad/src/cdbn, at the paper's sizes."""

    levels, width, heads, hidden, encoder_layers, tokens = 4, 256, 8, 1024, 4, 196

    def __init__(self, count, variant, stages, batch, training):
        self.count, self.variant, self.stages, self.batch, self.training = count, variant, stages, batch, training
        self.variables, self.rounded = {}, {}

    def variable(self, name, *shape):
        if name not in self.variables:
            variable = self.variables[name] = self.rounded[name] = Tensor(self.count, shape, variable=self.training)
            if self.training and self.count.size == 2:
                # A step in bf16 rounds every variable, which stays f32.
                self.count.launch(3 * variable.elements)
                self.rounded[name] = Tensor(self.count, shape, "rounding", (variable,))
        return self.rounded[name]

    def linear(self, x, name, to):
        images, tokens, channels = x.shape
        x, weight, bias = x.dense(), self.variable(f"{name}.weight", to, channels), self.variable(f"{name}.bias", to)
        y = Tensor(self.count, (images, tokens, to), "linear", (x, weight, bias))
        self.count.launch(x.elements + weight.elements + y.elements, 2.0 * x.elements * to, False, True)
        self.count.launch(2 * y.elements, y.elements, True)
        return y

    def norm(self, x, name):
        weight, bias = (self.variable(f"{name}.{part}", x.shape[-1]) for part in ("weight", "bias"))
        return x.own(x.shape, "layer norm", (x, weight, bias), 8 * x.elements)

    def dropout(self, x):
        return x.own(x.shape, "dropout", (x,), x.elements) if self.training else x

    def attend(self, query, key, value, name):
        query, key, value = (self.linear(x, f"{name}.{part}", x.shape[-1]) for x, part in ((query, "q"), (key, "k"), (value, "v")))
        flops = 4.0 * query.elements * self.tokens
        read = query.own(query.shape, "attention", (query, key, value), flops)
        read.flops = flops
        return self.dropout(self.linear(read, f"{name}.out", query.shape[-1]))

    def feed_forward(self, x, name, hidden):
        y = self.dropout(self.linear(x, f"{name}.fc1", hidden).unary("relu"))
        return self.dropout(self.linear(y, f"{name}.fc2", x.shape[-1]))

    def encoder_layer(self, x, position, name, hidden):
        placed = x.binary(position)
        x = self.norm(x.binary(self.attend(placed, placed, x, f"{name}.attn")), f"{name}.norm1")
        return self.norm(x.binary(self.feed_forward(x, name, hidden)), f"{name}.norm2")

    def decoder_layer(self, x, previous, encoded, position, name, hidden):
        read = self.attend(x.binary(position), encoded.binary(position), encoded, f"{name}.attn1")
        x = self.norm(x.binary(read), f"{name}.norm1")
        read = self.attend(x.binary(position), previous.binary(position), previous, f"{name}.attn2")
        x = self.norm(x.binary(read), f"{name}.norm2")
        return self.norm(x.binary(self.feed_forward(x, name, hidden)), f"{name}.norm3")

    def memory(self, x, name):
        slots = self.variable(name, 196, self.width)
        unit = x.reshape(self.batch * self.tokens, self.width)
        unit = unit.own(unit.shape, "unit", (unit,), 3 * unit.elements)
        unit_slots = slots.own(slots.shape, "unit", (slots,), 3 * slots.elements)
        cosines = unit.matmul(unit_slots.t())
        weights = cosines.own(cosines.shape, "address", (cosines,), 6 * cosines.elements)
        return weights.matmul(slots).reshape(*x.shape)

    def mlp(self, x, name, hidden, to):
        return self.linear(self.linear(x, f"{name}.0", hidden).unary("relu"), f"{name}.2", to)

    def position(self):
        half = self.width // 2
        row, column = (self.variable(name, 14, half) for name in ("row", "column"))
        sides = [side.reshape(*shape).broadcast((14, 14, half)) for side, shape in ((column, (1, 14, half)), (row, (14, 1, half)))]
        # `cat` joins broadcast tensors along their first axis, and copies each; `reshape` makes the result contiguous.
        sides = [side.made((half, 14, 14), "transpose", (side,), contiguous=False, stored=side.stored) for side in sides]
        for side in sides:
            self.count.launch(side.stored + side.elements, 0, True)
        joined = Tensor(self.count, (self.width, 14, 14), ("cat", 0), tuple(sides))
        joined = joined.made((14, 14, self.width), "transpose", (joined,), contiguous=False)
        return joined.reshape(1, self.tokens, self.width)

    def __call__(self, x):
        wide, channels = self.levels * self.width, x.shape[-1]
        position = self.position()
        heterogeneous = self.variant == "heterogeneous"
        if heterogeneous:
            x = self.mlp(x, "in_proj", 4 * wide, wide)
        else:
            # Computed once for the encoder and once for the decoder.
            placed = [self.linear(position, "position", wide) for _ in range(2)]
            x = self.linear(x, "in_proj", wide)
            for layer in range(2):
                x = self.encoder_layer(x, placed[0], f"wide encoder {layer}", 4 * wide)
        levels = []
        for level in range(self.levels):
            chunk = x.narrow(-1, self.width)
            chunk.at_border = level in (0, self.levels - 1)
            levels.append(self.memory(chunk, f"memory {level}") if heterogeneous else chunk)
        encoded = levels[0]
        for level in levels[1:]:
            encoded = encoded.binary(level)
        for layer in range(self.encoder_layers):
            encoded = self.encoder_layer(encoded, position, f"encoder {layer}", self.hidden)
        outputs, previous = [], encoded
        for layer, level in enumerate(levels):
            previous = self.decoder_layer(level, previous, encoded, position, f"decoder {layer}", self.hidden)
            outputs.append(previous)
        x = outputs[0].cat(outputs, -1)
        if heterogeneous:
            return self.mlp(x, "out_proj", 4 * wide, channels)
        encoded = previous = x
        for layer in range(2):
            query = self.variable(f"query {layer}", self.tokens, wide).reshape(1, self.tokens, wide).broadcast(x.shape)
            previous = self.decoder_layer(query, previous, encoded, placed[1], f"wide decoder {layer}", 4 * wide)
        return self.linear(previous, "out_proj", channels)

    def score(self, tokens, reconstruction):
        """The errors, and their upsampling and pooling: two products each, with the matrices copied for each image."""
        errors = tokens.own((self.batch, 14, 14), "errors", (tokens, reconstruction), 3 * tokens.elements)
        for side in (224, 209):
            left = Tensor(self.count, (1, side, 14)).broadcast((self.batch, side, 14)).dense()
            right = Tensor(self.count, (1, 14, side)).broadcast((self.batch, 14, side)).dense()
            result = left.matmul(errors).matmul(right)
        result.sum([1, 2])

    def jitter(self):
        tokens = Tensor(self.count, (self.batch, self.tokens, sum(self.stages)))
        centered = tokens.binary(tokens.mean([1]))
        sigma = centered.unary().sum([1]).unary().unary()
        return tokens, tokens.own(tokens.shape, "jitter", (tokens, sigma), 20 * tokens.elements)

    def step(self):
        """dualad/src/train/step.rs: noise, forward pass, loss, backward pass, AdamW."""
        count = self.count
        tokens, jittered = self.jitter()
        reconstruction = self(jittered)
        error = reconstruction.binary(tokens, "sub").unary("sqr")
        loss = None
        for index, channels in enumerate(self.stages):
            stage = error.narrow(-1, channels)
            stage.at_border = index in (0, len(self.stages) - 1)
            mean = stage.sum([0, 1, 2]).reshape().unary("affine")
            loss = mean if loss is None else loss.binary(mean)
        backward(loss)
        count.fill(1)
        # The optimizer computes in f32.
        wide = 4 // count.size
        for variable in self.variables.values():
            count.launch(wide * variable.elements, 2 * variable.elements)
        count.launch(1)
        count.launch(1)  # the sums and the loss, side by side
        for variable in self.variables.values():
            count.launch(7 * wide * variable.elements, 12 * variable.elements)


# ------------------------------------------------------------------------------------------- the training step without a graph


class PlannedStep:
    """dualad/src/engine/device and dualad/src/train/device_step.rs, for the heterogeneous network."""

    def __init__(self, network):
        self.network, self.count, self.batch = network, network.count, network.batch
        self.tokens, self.width = network.tokens, network.width
        self.rows = self.batch * self.tokens
        self.stages = network.stages
        self.parameters = 0
        # The columns of each value; of which views there is a copy; the gradients, and whether a product may add to them.
        self.placed, self.gradients, self.steps, self.position_gradient = set(), {}, [], False

    # Launches.

    def product(self, m, k, n, add=False):
        self.count.launch(m * k + k * n + (2 if add else 1) * m * n, 2.0 * m * k * n, False, True)

    def pass_over(self, matrices, columns, flops=1.0, upload=False, rows=None):
        elements = (rows or self.rows) * columns
        self.count.launch(matrices * elements, flops * elements, upload)

    # The plan.

    def linear(self, x, y, inputs, outputs, relu=False, summed=False, placed=False, x_gradient=True):
        self.parameters += outputs * (inputs + 1)
        self.steps.append(("linear", x, y, inputs, outputs, relu, summed, placed, x_gradient))

    def attend(self, query, context, name):
        d = self.width
        for part, x in (("q", query), ("k", context), ("v", context)):
            self.linear(x, f"{name}.{part}", d, d, placed=part != "v")
        self.steps.append(("attention", f"{name}.q", f"{name}.k", f"{name}.v", f"{name}.read"))
        self.linear(f"{name}.read", f"{name}.r", d, d, summed=True)

    def norm(self, x, r, y):
        self.parameters += 2 * self.width
        self.steps.append(("norm", x, r, y))

    def feed_forward(self, x, name, y):
        hidden = self.network.hidden
        self.linear(x, f"{name}.hidden", self.width, hidden, relu="dropout")
        self.linear(f"{name}.hidden", f"{name}.fed", hidden, self.width, summed=True)
        self.norm(x, f"{name}.fed", y)

    def build(self):
        levels, channels, wide = self.network.levels, sum(self.stages), self.network.levels * self.width
        self.linear("tokens", "in", channels, 4 * wide, relu="relu", x_gradient=False)
        self.linear("in", "wide", 4 * wide, wide)
        self.parameters += levels * 196 * self.width + 28 * self.width // 2
        for level in range(levels):
            self.steps.append(("memory", f"chunk {level}", f"level {level}"))
        self.steps.append(("sum", [f"level {level}" for level in range(levels)], "z"))
        z = "z"
        for layer in range(self.network.encoder_layers):
            self.attend(z, z, f"encoder {layer}")
            self.norm(z, f"encoder {layer}.r", f"encoder {layer}.x")
            self.feed_forward(f"encoder {layer}.x", f"encoder {layer}", f"encoder {layer}.y")
            z = f"encoder {layer}.y"
        previous = z
        for level in range(levels):
            x = f"level {level}"
            for index, context in enumerate((z, previous)):
                self.attend(x, context, f"decoder {level}.{index}")
                self.norm(x, f"decoder {level}.{index}.r", f"decoder {level}.{index}.x")
                x = f"decoder {level}.{index}.x"
            self.feed_forward(x, f"decoder {level}", f"output {level}")
            previous = f"output {level}"
        self.linear("outputs", "out", wide, 4 * wide, relu="relu")
        self.linear("out", "reconstruction", 4 * wide, channels)

    # The passes.

    def place(self, x):
        if x not in self.placed:
            self.placed.add(x)
            self.pass_over(2, self.width, upload=True)

    def forward(self):
        levels, d = self.network.levels, self.width
        for kind, *step in self.steps:
            if kind == "linear":
                x, _, inputs, outputs, _, summed, placed, _ = step
                if placed:
                    self.place(x)
                if x == "outputs":
                    for _ in range(levels):
                        self.pass_over(2, d)
                self.product(self.rows, inputs, outputs)
                if not summed:
                    self.pass_over(2, outputs)
            elif kind == "attention":
                self.count.launch(4 * self.rows * d, 4.0 * self.rows * d * self.tokens)
            elif kind == "norm":
                self.pass_over(3, d)
                self.pass_over(2, d, 8)
            elif kind == "memory":
                self.pass_over(2, d, upload=True)  # the chunk
                self.read()
                self.product(self.rows, 196, d)
            elif kind == "sum":
                for _ in step[0][1:]:
                    self.pass_over(3, d)

    def read(self):
        """The weights of a memory's slots."""
        self.pass_over(2, self.width, 3)
        self.pass_over(2, self.width, 3, rows=196)
        self.product(self.rows, self.width, 196)
        self.pass_over(2, 196, 6)

    def add(self, view, columns, owned=False):
        if view in self.gradients:
            self.pass_over(3, columns)
            owned = True
        self.gradients[view] = owned

    def add_product(self, view, inner, columns):
        if self.gradients.get(view):
            self.product(self.rows, inner, columns, add=True)
        else:
            self.product(self.rows, inner, columns)
            self.add(view, columns, True)
            self.gradients[view] = True

    def take(self, view, columns, owned=False):
        is_owned = self.gradients.pop(view, None)
        if view.startswith("output ") and "outputs" in self.gradients:
            self.pass_over(2, columns, upload=True)
            if is_owned is not None:
                self.pass_over(3, columns)
        if view == "wide":
            for _ in range(self.network.levels):
                self.pass_over(2, self.width)
        if owned and is_owned is False:
            self.pass_over(2, columns)

    def sums(self, columns, rows=None):
        self.product(1, rows or self.rows, columns)

    def backward(self):
        d = self.width
        self.gradients["reconstruction"] = False
        for kind, *step in reversed(self.steps):
            if kind == "linear":
                x, y, inputs, outputs, relu, _, placed, x_gradient = step
                self.take(y, outputs, bool(relu))
                if relu:
                    self.pass_over(3, outputs)
                self.product(outputs, self.rows, inputs)
                self.sums(outputs)
                if x_gradient:
                    self.add_product(x, outputs, inputs)
                if placed:
                    self.product(self.rows, d, d, add=self.position_gradient)
                    self.position_gradient = True
            elif kind == "attention":
                self.take(step[3], d)
                flops = 4.0 * self.rows * d * self.tokens
                for share, matrices in ((0.5, 4), (1.5, 5), (2.0, 6)):
                    self.count.launch(matrices * self.rows * d, share * flops)
                for view in step[:3]:
                    self.add(view, d)
            elif kind == "norm":
                x, r, y = step
                self.take(y, d)
                self.pass_over(3, d, 8)
                self.pass_over(2, d, 4)
                for _ in range(2):
                    self.sums(d, -(-self.rows // 64))
                self.pass_over(2, d)  # the dropout
                self.add(r, d)
                self.add(x, d)
            elif kind == "memory":
                self.take(step[1], d)
                self.read()
                self.product(self.rows, d, 196)
                self.pass_over(3, 196, 6)
                self.product(self.rows, 196, d)
                self.pass_over(3, d, 6)
                self.product(196, self.rows, d)
                self.product(196, self.rows, d)
                self.pass_over(3, d, 6, rows=196)
                self.pass_over(3, d, rows=196)
                self.pass_over(2, d, rows=196)  # to the gradient of all parameters
                self.add(step[0], d)
            elif kind == "sum":
                self.take(step[1], d)
                for view in step[0]:
                    self.add(view, d)
        # The position embeddings: the sum over images; for rows and for columns, a sum and a copy to the gradient.
        self.count.launch(self.rows * d, 0, True)
        for _ in range(2):
            self.count.launch(self.tokens * d, 0, True)
            self.count.launch(28 * d, 0)

    def __call__(self):
        count, channels = self.count, sum(self.stages)
        self.build()
        self.network.jitter()
        self.network.position()
        self.forward()
        self.pass_over(3, channels)  # the errors
        self.pass_over(2, channels, upload=True)  # the derivative of the loss
        self.pass_over(3, channels)
        for summed in (True, True, False):  # the loss: two sums and a factor
            self.count.launch(self.rows, 0, summed)
        self.backward()
        # The optimizer computes in f32: zeros, the sums of squares, the loss beside them, AdamW.
        count.fill(1)
        count.launch(self.parameters, 2 * self.parameters)
        count.launch(1)
        count.launch(1)
        count.launch(7 * self.parameters, 12 * self.parameters)


# --------------------------------------------------------------------------------------------------------------- the backbones


def convolution(x, channels, kernel, stride, residual=None, relu=True):
    """A convolution with im2col: three launches, then the bias, the residual and ReLU in one launch each."""
    count = x.count
    images, inputs, rows, columns = x.shape
    rows, columns = -(-rows // stride), -(-columns // stride)
    cells = images * rows * columns
    count.launch(x.elements + cells * inputs * kernel**2, 0, True)
    count.launch(
        cells * inputs * kernel**2 + channels * inputs * kernel**2 + cells * channels,
        2.0 * cells * inputs * kernel**2 * channels, False, True)
    count.launch(2 * cells * channels, 0, True)
    y = Tensor(count, (images, channels, rows, columns)).binary(Tensor(count, (1, channels, 1, 1)))
    if residual is not None:
        y = y.binary(residual)
    y.weights = channels * inputs * kernel**2
    convolution.weights += y.weights
    return y.unary("relu") if relu else y


convolution.weights = 0


def resnet(count, batch, depths, bottleneck, width):
    """dualad-backbones/src/network/resnet.rs up to stage 3, and the aggregation of the stages."""
    convolution.weights = 0
    x = convolution(Tensor(count, (batch, 3, 224, 224)), 64, 7, 2)
    for _ in range(2):
        count.fill(x.elements / 56)
        count.fill(x.elements / 56)
        for _ in range(3):
            count.launch(2 * x.elements / 3)
    count.launch(x.elements * 1.25, 9 * x.elements / 4, True)
    x = Tensor(count, (batch, 64, 56, 56))
    maps = []
    for stage, depth in enumerate(depths[:3]):
        base = 64 << stage
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            to = 4 * base if bottleneck else base
            skip = x if x.shape[1] == to and stride == 1 else convolution(x, to, 1, stride, relu=False)
            if bottleneck:
                y = convolution(x, width << stage, 1, 1)
                y = convolution(y, width << stage, 3, stride)
                x = convolution(y, to, 1, 1, skip)
            else:
                x = convolution(convolution(x, to, 3, stride), to, 3, 1, skip)
        maps.append(x)
    count.fill(batch * 196 * sum(m.shape[1] for m in maps))
    for m in maps:
        count.launch(m.elements + batch * 196 * m.shape[1], m.elements)
    return convolution.weights, batch * (3 * 224 * 224 + 196 * sum(m.shape[1] for m in maps))


def vit_small(count, batch):
    """dualad-backbones/src/network/vit.rs with ViT-S/16 of DINO: twelve blocks of 384 channels."""
    channels, tokens, weights = 384, 197, 12 * 12 * 384 * 384 + 768 * 384
    convolution(Tensor(count, (batch, 3, 224, 224)), channels, 16, 16, relu=False)
    x = Tensor(count, (batch, tokens, channels))
    # The embedding: transposed, joined with the class token, and the positions added.
    for _ in range(4):
        count.launch(2 * x.elements, 0, True)

    def linear(x, to, gelu=False):
        y = x.reshape(batch * tokens, x.shape[-1]).matmul(Tensor(count, (x.shape[-1], to))).reshape(batch, tokens, to)
        y = y.binary(Tensor(count, (1, 1, to)))
        return y.unary("gelu") if gelu else y

    for _ in range(12):
        y = linear(x.own(x.shape, "layer norm", (x,)), 3 * channels)
        q, k, v = (Tensor(count, (batch, 6, tokens, 64), contiguous=False).dense() for _ in range(3))
        scores = q.matmul(k.t()).unary("affine")
        scores = scores.own(scores.shape, "softmax", (scores,), 5 * scores.elements)
        read = scores.matmul(v)
        read.contiguous = False
        x = linear(read.reshape(batch, tokens, channels), channels).binary(x)
        y = linear(x.own(x.shape, "layer norm", (x,)), 4 * channels, True)
        x = linear(y, channels).binary(x)
    # The maps of the four stages, and their aggregation.
    count.fill(batch * 196 * 4 * channels)
    for _ in range(4):
        count.launch(2 * batch * 196 * channels, 0, True)
        count.launch(2 * batch * 196 * channels)
    return weights, batch * (3 * 224 * 224 + 196 * 4 * channels)


STAGES = [256, 512, 1024]

# ------------------------------------------------------------------------------------------------------------------- the bank

BANK_DIMS = 128
BANK_TOKENS = 4000


def bank(count, batch, stages=((512, 28), (1024, 14)), dims=BANK_DIMS, tokens=BANK_TOKENS):
    """dualad/src/bank/device.rs and table.rs: local tokens of one category, from the maps of the stages but the first."""
    if count.size == 2:
        # The search is in f32.
        for channels, side in stages:
            count.launch(1.5 * 2 * batch * channels * side**2)
        count.size, count.rate = 4, count.vector
    side = max(side for _, side in stages)
    total = None
    for channels, own in stages:
        # Matrices that are broadcast have a stride of 0: a product reads them without a copy.
        cells = batch * dims * own**2
        count.launch(dims * channels + batch * channels * own**2 + cells, 2.0 * cells * channels, False, True)
        wide = cells // own * side
        count.launch(cells + own * side + wide, 2.0 * wide * own, False, True)
        tall = wide // own * side
        count.launch(wide + own * side + tall, 2.0 * tall * own, False, True)
        part = Tensor(count, (batch, dims, side**2))
        total = part if total is None else total.binary(part)
    total.made((batch, side**2, dims), "transpose", (), contiguous=False).dense()
    queries = Tensor(count, (batch, side**2, dims)).binary(Tensor(count, (dims,)))
    places = Tensor(count, (side**2, 2)).unary().broadcast((batch, side**2, 2)).dense()
    count_of = batch * side**2
    queries = queries.cat([queries, places], 2).reshape(count_of, dims + 2)
    # At most 2^25 distances at a time.
    rows = max(1, 2**25 // tokens)
    for start in range(0, count_of, rows):
        block = Tensor(count, (min(rows, count_of - start), dims + 2))
        squares = block.unary().matmul(Tensor(count, (dims + 2, tokens))).binary(Tensor(count, (tokens,)))
        found = block.shape[0]
        count.launch(squares.elements + found, squares.elements, True)
        Tensor(count, (found, 1)).binary(Tensor(count, (1,)))
        count.launch(2 * found * (dims + 2), 0, True)
        block.binary(block, "sub").unary("sqr").sum([1]).unary("sqrt")
        count.launch(3 * found, 0, True)
        Tensor(count, (found, 1)).binary(Tensor(count, (found, 1)), "mul")
    blocks = -(-count_of // rows)
    if blocks > 1:
        for _ in range(blocks):
            count.launch(2 * count_of / blocks)
    weights = sum(dims * channels for channels, _ in stages) + tokens * (dims + 4)
    return weights, batch * (sum(channels * own**2 for channels, own in stages) + side**2)



def parts(count, name, batch):
    """Runs a part; returns the elements of its weights, and of its inputs and outputs."""
    if name == "wide-resnet50-2":
        return resnet(count, batch, [3, 4, 6], True, 128)
    if name == "resnet34":
        return resnet(count, batch, [3, 4, 6], False, 64)
    if name == "vit-small-dino":
        return vit_small(count, batch)
    if name == "bank":
        return bank(count, batch)
    variant = name.split()[0]
    network = Network(count, variant, STAGES, batch, "step" in name)
    if name.endswith("graph"):
        step = PlannedStep(network)
        step()
        return 7 * step.parameters, batch * 196 * sum(STAGES)
    if "step" in name:
        network.step()
        weights = sum(variable.elements for variable in network.variables.values())
        # The optimizer reads and writes the variables and their moments.
        return 7 * weights, batch * 196 * sum(STAGES)
    tokens = Tensor(count, (batch, 196, sum(STAGES)))
    network.score(tokens, network(tokens))
    return sum(variable.elements for variable in network.variables.values()), batch * (196 * sum(STAGES) + 224 * 224)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bandwidth", type=float, default=4.8, help="TB/s")
    parser.add_argument("--f32", type=float, default=67.0, help="TFLOP/s")
    parser.add_argument("--tf32", type=float, default=495.0, help="TFLOP/s")
    parser.add_argument("--bf16", type=float, default=990.0, help="TFLOP/s")
    options = parser.parse_args()
    print("| part | batch | launches | of them fills | uploads | GFLOP | GB in f32 | floor, ms: f32 / tf32 / bf16 | as launched, ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    cases = [(name, batch) for name in ("wide-resnet50-2", "resnet34", "vit-small-dino", "heterogeneous", "homogeneous", "bank")
             for batch in (1, 8, 64) if batch != 8 or name == "bank"] + [("heterogeneous step without a graph", 16),
                                                            ("heterogeneous step", 16), ("homogeneous step", 16)]
    for name, batch in cases:
        floors, launched, launches = [], [], {}
        for precision in ("bf16", "tf32", "f32"):
            count = Count(options, precision)
            weights, ends = parts(count, name, batch)
            launches[precision] = count.launches
            floors.insert(0, 1e3 * max(count.flops / count.rate, (weights + ends) * count.size / count.bandwidth))
            launched.insert(0, 1e3 * count.seconds)
        more = f" (bf16: {launches['bf16']:,})" if launches["bf16"] != count.launches else ""
        times = [" / ".join(f"{ms:.2f}" for ms in row) for row in (floors, launched)]
        print(f"| {name} | {batch} | {count.launches:,}{more} | {count.fills} | {count.uploads} | {count.flops / 1e9:,.0f} | "
              f"{count.bytes / 1e9:.1f} | {times[0]} | {times[1]} |")


if __name__ == "__main__":
    main()
