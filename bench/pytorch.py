# pytorch.py - PyTorch as a contender of bench.c: reads one command a line from its input and answers each with one line.
#
#     gradient CELL H B T THREADS FILE   a layer and its window, read from FILE (contest.h's order, float32)
#     check FILE                         one run, its results into FILE (the order of struct gradient)
#     stream CELL H                      one step of a layer, B = 1, without gradients
#     text H B T V THREADS               a text model: embedding, LSTM, head, clipping and Adam
#     time SECONDS                       runs for about that long; answers with seconds a run
import sys
import time

import numpy
import torch


def gate_rows(cell):
    """Where PyTorch's gates stand among the file's, which are in the order ifgo, zrn."""
    return {"lstm": [0, 1, 2, 3], "gru": [1, 0, 2], "rnn": [0]}[cell]


def make_layer(cell, hidden):
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    return kind(hidden, hidden)


class Gradient:
    def __init__(self, cell, hidden, batch, steps, path):
        rows = gate_rows(cell)
        gates = len(rows)
        numbers = numpy.fromfile(path, dtype=numpy.float32)

        def part(*shape):
            nonlocal numbers
            count = int(numpy.prod(shape))
            result, numbers = torch.from_numpy(numbers[:count].reshape(shape).copy()), numbers[count:]
            return result

        self.cell, self.rows, self.layer = cell, rows, make_layer(cell, hidden)
        self.x = part(steps, batch, hidden).requires_grad_()
        self.dy = part(steps, batch, hidden)
        self.h = part(1, batch, hidden).requires_grad_()
        self.c = part(1, batch, hidden).requires_grad_() if cell == "lstm" else None
        weights, recurrent, bias = part(gates, hidden, hidden), part(gates, hidden, hidden), part(gates, hidden)
        with torch.no_grad():
            self.layer.weight_ih_l0.copy_(weights[rows].reshape(gates * hidden, hidden))
            self.layer.weight_hh_l0.copy_(recurrent[rows].reshape(gates * hidden, hidden))
            self.layer.bias_ih_l0.copy_(bias[rows].reshape(-1))
            self.layer.bias_hh_l0.zero_()
            if cell == "gru":
                self.layer.bias_hh_l0[2 * hidden:].copy_(part(hidden))

    def run(self):
        for leaf in [self.x, self.h, self.c, *self.layer.parameters()]:
            if leaf is not None:
                leaf.grad = None
        state = self.h if self.c is None else (self.h, self.c)
        self.y, _ = self.layer(self.x, state)
        self.y.backward(self.dy)

    def results(self):
        order = [self.rows.index(gate) for gate in range(len(self.rows))]

        def in_order(grad):
            return grad.reshape(len(order), -1)[order]

        dc = torch.zeros_like(self.h) if self.c is None else self.c.grad
        bias = in_order(self.layer.bias_ih_l0.grad)
        if self.cell == "gru":
            bias = torch.cat([bias, self.layer.bias_hh_l0.grad.reshape(3, -1)[2:]])
        parts = [self.y.detach(), self.x.grad, self.h.grad, dc, in_order(self.layer.weight_ih_l0.grad),
                 in_order(self.layer.weight_hh_l0.grad), bias]
        return torch.cat([part.reshape(-1) for part in parts]).numpy()


class Stream:
    def __init__(self, cell, hidden):
        kind = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[cell]
        self.layer, self.x, self.state = kind(hidden, hidden), torch.randn(1, hidden), None

    def run(self):
        with torch.no_grad():
            self.state = self.layer(self.x, self.state)


class Text:
    def __init__(self, hidden, batch, steps, symbols):
        self.embedding = torch.nn.Embedding(symbols, hidden)
        self.layer = torch.nn.LSTM(hidden, hidden)
        self.head = torch.nn.Linear(hidden, symbols)
        self.all = [*self.embedding.parameters(), *self.layer.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(self.all, lr=1e-3)
        self.x, self.y = torch.randint(symbols, (2, steps, batch))
        self.symbols = symbols

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        out, _ = self.layer(self.embedding(self.x))
        loss = torch.nn.functional.cross_entropy(self.head(out).reshape(-1, self.symbols), self.y.reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.all, 5.0)
        self.optimizer.step()
        loss.item()


def clock(subject, seconds):
    """A run to wake up, then as many as fit: as bench.c does with its own."""
    start = time.perf_counter()
    subject.run()
    once = time.perf_counter() - start
    if once > seconds:
        return once
    runs = 1 + int(seconds / once)
    start = time.perf_counter()
    for _ in range(runs):
        subject.run()
    return (time.perf_counter() - start) / runs


def answer(subject, words):
    """The subject from now on, and the line to say."""
    what, rest = words[0], words[1:]
    if what == "gradient":
        torch.set_num_threads(int(rest[4]))
        return Gradient(rest[0], *map(int, rest[1:4]), rest[5]), "ready"
    if what == "stream":
        torch.set_num_threads(1)
        return Stream(rest[0], int(rest[1])), "ready"
    if what == "text":
        torch.set_num_threads(int(rest[4]))
        return Text(*map(int, rest[:4])), "ready"
    if what == "check":
        subject.run()
        subject.results().tofile(rest[0])
        return subject, "done"
    return subject, repr(clock(subject, float(rest[0])))


def main():
    subject = None
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        subject, text = answer(subject, line.split())
        print(text, flush=True)


main()
