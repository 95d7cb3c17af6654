"""Every gradient of Equation (1) by brute force: each row alone, a plain loop, one `autograd.grad` per pair (t, k)."""

import torch


def states_and_output(cells, x):
    """Runs a stack, `cells[l][d]`, over `x [T, I]` of one row: the state after each step, `[l][d][k]`, and `[T, O]`."""
    kept = []
    for layer in cells:
        outputs, kept_here = [], []
        for d, cell in enumerate(layer):
            steps = range(len(x)) if d == 0 else reversed(range(len(x)))
            state, states, y = cell.initial_state(x[:1]), [()] * len(x), [x[:1]] * len(x)
            for k in steps:
                new = cell(x[k : k + 1], state)
                # Aliases: what step k + 1 is given. ∂/∂c must not run through the h of its own step.
                states[k] = state = tuple(part.clone() for part in new)
                y[k] = state[0]
            outputs.append(torch.cat(y))
            kept_here.append(states)
        kept.append(kept_here)
        x = torch.cat(outputs, dim=-1)
    return kept, x


def reach_of_row(cells, x, v, steps):
    """`‖∂E_t/∂s_k‖` with `E_t = v_t · y_t`: per layer and direction `[parts + 1, steps, steps]`, the full state last."""
    kept, y = states_and_output(cells, x)
    found = []
    for layer in kept:
        for states in layer:
            norms = torch.full((len(states[0]) + 1, steps, steps), torch.nan, dtype=x.dtype)
            for t in range(len(x)):
                for k in range(len(x)):
                    grads = torch.autograd.grad((v[t] * y[t]).sum(), states[k], retain_graph=True, allow_unused=True)
                    each = [torch.zeros(()) if g is None else g.norm() for g in grads]
                    norms[:, t, k] = torch.stack([*each, torch.stack(each).norm()])
            found.append(norms)
    return found
