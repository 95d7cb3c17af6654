"""Gradients of Equation (1) by brute force: each row alone, a plain loop, one `autograd.grad` per pair (t, k)."""

import torch


def run(cells, x):
    """A stack, `cells[l][d]`, over one row `x [T, I]`: states and weights of each step, `[l · d][k]`, and `y`.

    Each step has a copy of the weights to itself, so that a derivative by it is the immediate one, `∂⁺s_k/∂W`.
    """
    kept, copies = [], []
    for layer in cells:
        outputs = []
        for d, cell in enumerate(layer):
            state, states, weights = cell.initial_state(x[:1]), [()] * len(x), [{}] * len(x)
            for k in range(len(x)) if d == 0 else reversed(range(len(x))):
                weights[k] = {name: w.clone() for name, w in cell._parameters.items()}
                # From right to left the step before is the next one, and there is none before the last.
                times = {"dt": float(d == 0 or k + 1 < len(x))} if cell.takes_dt else {}
                new = cell.over(weights[k])(x[k : k + 1], state, **times)
                # Aliases: what step k + 1 is given. ∂/∂c must not run through the h of its own step.
                # A part that is made of times alone has a derivative as well.
                states[k] = state = tuple(p.clone() if p.requires_grad else p.clone().requires_grad_() for p in new)
            outputs.append(torch.cat([state[0] for state in states]))
            kept.append(states)
            copies.append(weights)
        x = torch.cat(outputs, dim=-1)
    return kept, copies, x


def reach_of_row(cells, x, v, steps):
    """`‖∂E_t/∂s_k‖` with `E_t = v_t · y_t`: per layer and direction `[parts + 1, steps, steps]`, all parts last."""
    kept, _, y = run(cells, x)
    found = []
    for states in kept:
        norms = torch.zeros(len(states[0]) + 1, steps, steps, dtype=x.dtype)
        for t in range(len(x)):
            for k in range(len(x)):
                grads = gradients((v[t] * y[t]).sum(), states[k])
                each = [g.norm() for g in grads]
                norms[:, t, k] = torch.stack([*each, torch.stack(each).norm()])
        found.append(norms)
    return found


def terms_of_row(cells, x, v, steps):
    """`∂E_t/∂s_k · ∂⁺s_k/∂W`: per layer and direction, by weight, `[steps, steps, *W.shape]`."""
    _, copies, y = run(cells, x)
    found = []
    for weights in copies:
        terms = {name: torch.zeros(steps, steps, *w.shape, dtype=x.dtype) for name, w in weights[0].items()}
        for t in range(len(x)):
            for k in range(len(x)):
                grads = gradients((v[t] * y[t]).sum(), list(weights[k].values()))
                for term, grad in zip(terms.values(), grads, strict=True):
                    term[t, k] = grad
        found.append(terms)
    return found


def gradients(value, inputs):
    return torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True, materialize_grads=True)
