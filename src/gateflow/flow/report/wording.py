"""How to read each figure, and the words that the report cannot do without."""

__all__ = ["GLOSSARY", "READING"]

READING = {
    "heatmap": """Each cell answers: of the error signal that arises at step t (row), how much is left when it has
travelled back to the network's state at step k (column)? The diagonal is the step itself; going left is going back
in time. The colour scale is logarithmic: from yellow (all of it) by green (about 1 %) to dark violet (next to
nothing). Nothing is drawn where nothing can be: the future, and padding.""",
    "cut": """Hatched: cut. The model detaches its state there, so no gradient is sent; that is not vanishing.""",
    "grows": """Orange and red: more arrives than was sent; the gradient grows on its way, and explodes if it goes
on.""",
    "decay": """The same, averaged over all steps by how far back they lie. The line begins at 1 where the error
arises. Where it falls below 1 % (the dot) is the horizon: what lies further back can hardly be learnt from.""",
    "shares": """The gradient of a recurrent weight is a sum over all pairs of steps (Equation 1: ∂E/∂W = Σₜ Σₖ
∂Eₜ/∂sₜ · ∂sₜ/∂sₖ · ∂⁺sₖ/∂W). These are the parts that each distance contributes. If the long distances are missing
here, the weights cannot learn from them, however large the gradient is as a whole.""",
    "spectrum": """Lyapunov exponents: per step, the rate at which a gradient shrinks (below 0) or grows (above 0)
in the directions that shrink least. At −0.7 it halves with every step, at −0.01 in 70 steps. Above 0 it explodes on
long sequences.""",
    "openness": """How open each gate is on average over its units: 0 is closed, 1 is open. Of what a tanh makes
(content, state) the size is shown, without its sign.""",
    "first": "It is the first sequence of the batch, token by token.",
    "half-lives": """A unit forgets half of what it holds within its half-life, if nothing new is written. To bridge
a distance, some units must have half-lives of that size.""",
    "training": """What a monitor saw in training: how far back the gradient reached, and the loss. This horizon is
the one on the batch of that moment and within one window, and so not the one above. It often opens before the loss
begins to fall, and its collapse is an early warning.""",
    "clipping": """The norm of the gradient over training, and in how many updates it was above the threshold and
therefore scaled down. Clipping now and then is a safety net; in nearly every update it has become the step size.""",
}

GLOSSARY = {
    "gradient": """For every number in the network: in which direction to change it so that the error becomes
smaller, and how much that would help. Training follows it.""",
    "state": """What a recurrent network hands from one step to the next: all that it knows of the past. h is the
hidden state; an LSTM also has c, its memory cell.""",
    "lag": "How many steps lie between a cause and its effect, such as a subject and its verb.",
    "reach": "‖∂Eₜ/∂sₖ‖: how strongly the error at step t asks for a change of the state at step k.",
    "horizon": "The largest lag at which 1 % of the gradient is left.",
    "needed lag": "How far back the task has to look, as whoever asked for this report said.",
    "vanishing, exploding": """Going backward the gradient is multiplied by one matrix per step. Mostly it shrinks,
and then nothing is learnt from far back; it can also grow without bound, and then training becomes unstable.""",
    "gate": """A number from 0 to 1 per unit and step that says how much passes. A forget gate of 1 keeps all, of 0
nothing.""",
    "half-life": "The number of steps in which a unit's memory, or a gradient, falls to a half.",
    "saturated": """A gate or state so near to its limit that a small change of its input changes nothing: no
gradient passes through it.""",
    "Lyapunov exponent": """The mean logarithm of the factor by which a gradient is multiplied in one step. 0 is the
border between vanishing and exploding.""",
    "truncation": """Training on windows of so many steps: at their borders the state is handed on and the gradient
is not. What is cut off is not vanished, it was never sent.""",
    "clipping": """Scaling a gradient down to a threshold when its norm is larger, so that one update cannot ruin
the weights.""",
}
