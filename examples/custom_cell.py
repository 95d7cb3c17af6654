"""A cell of your own, trained: a GRU in which each unit learns a pace of its own. It must recall the first input.

python examples/custom_cell.py
cd examples && gateflow explain custom_cell:PacedGRU        # what the compiler makes of it
"""

import torch

from gateflow import Cell, Recurrent
from gateflow.recurrence import explain


class PacedGRU(Cell):
    states = ("c",)
    gates = ("update", "content")
    diagonals = ("pace",)  # one learned number per unit

    def step(self, x, c):
        u = torch.sigmoid(self.update(c, x)) * torch.sigmoid(self.pace - 2)
        return u * torch.tanh(self.content(c, x)) + (1 - u) * c


if __name__ == "__main__":
    torch.manual_seed(0)
    layer, read = Recurrent(PacedGRU, 4, 32), torch.nn.Linear(32, 2)
    print(explain(layer))
    optimizer = torch.optim.Adam([*layer.parameters(), *read.parameters()], lr=1e-2)
    for update in range(301):
        x = torch.randn(10, 64, 4)
        loss = torch.nn.functional.cross_entropy(read(layer(x)[0][-1]), (x[0, :, 0] > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 50 == 0:
            print(f"update {update:3d}  cross-entropy {loss.item():.3f}")
