"""Writes the equations of a plan as C++: for each pass, what one vector of units is computed by.

    mul_3 = mul(sigmoid_1, c)     →     const V mul_3 = sigmoid_1 * c;

All else, the loops over time, samples and units and the matrix products, is the frame of a back end, a header that
gives these words their meaning: `V` a vector of units, `Rows` and `Sums` what a pass reads and writes. The text is the
same for every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isinf, isnan

from gateflow.compiler.graph import names_of
from gateflow.compiler.node import LEAVES, Node, in_order
from gateflow.compiler.operations import OPERATIONS
from gateflow.compiler.plan import WIDTHS, Kind, Pass, Plan, Row, Term

__all__ = ["program"]


def program(name: str, plan: Plan) -> str:
    """The passes of a loop as structures in a namespace of its name, with the kinds of the rows they touch.

    Example:
        >>> from gateflow.cells import Elman
        >>> from gateflow.compiler import Costs, compile_cell
        >>> text = program("stream", compile_cell(Elman(3, 4)).programs(Costs(load=3)).stream)
        >>> print(text[text.index("const V") : text.index("(void)rows")])
        const V product_2 = load(sum + 0 * lanes<T>) + rows.load(3, m, j, n) + rows.load(4, m, j, n);
                const V tanh_3 = tanh(product_2);
                rows.store(0, m, j, n, tanh_3);
        <BLANKLINE>
    """
    kinds = ", ".join(f"Kind::{row.kind.value}" for row in plan.rows)
    lines = [
        f"namespace {name} {{",
        *(f"// row {k}: {row}" for k, row in enumerate(plan.rows)),
        "struct Program {",
        f"    static constexpr int slots = {len(plan.rows)}, vectors = {len(plan.parameters)};",
        f"    static constexpr Kind kinds[] = {{{kinds}}};",
        "};",
        f"using R = Rows<T, {len(plan.rows)}>;",
    ]
    terms, reduced = 0, 0
    for k, each in enumerate(plan.passes):
        lines += ["", *_pass(k, each, plan, terms, reduced)]
        terms, reduced = terms + len(each.terms), reduced + len(each.reductions)
    return "\n".join([*lines, f"}}  // namespace {name}", ""])


def _pass(k: int, p: Pass, plan: Plan, terms: int, reduced: int) -> list[str]:
    constants = f"width = {plan.widths.index(p.width)}, sums = {len(p.products)}, totals = {len(p.totals)}"
    # Threads that divide the units meet before such a pass (`run_step` of `recurrence.h`): others may still read the
    # row.
    overwrites = _bool(_overwrites(p, plan))
    head = [
        f"struct Pass{k} {{",
        f"    static constexpr int {constants}, number_of_terms = {len(p.terms)};",
        f"    static constexpr bool has_numbers = {_bool(p.number_stores)}, overwrites = {overwrites};",
    ]
    head.append(f"    static constexpr bool ahead = {_bool(p.ahead)};")
    if p.terms:
        listed = ", ".join(_term(term, plan, terms + i) for i, term in enumerate(p.terms))
        head.append(f"    static constexpr Term terms[] = {{{listed}}};")
    return [*head, *_point(p, plan, reduced), *_fetch(p, plan), *_numbers(p, plan), "};"]


def _term(term: Term, plan: Plan, index: int) -> str:
    # Sizes that the text does not know, how often each, and the sum of the others.
    columns = [term.columns.count(w) for w in WIDTHS[:3]] + [sum(int(w) for w in term.columns if w.isdecimal())]
    listed = ", ".join(map(str, columns))
    return f"{{{plan.rows.index(term.operand)}, {term.first}, {term.count}, {index}, {{{listed}}}}}"


def _overwrites(p: Pass, plan: Plan) -> bool:
    """Whether the pass writes what a product of another pass reads as a whole, in the same place at every step."""
    read = {term.operand for each in plan.passes for term in each.terms}
    return any(row.whole in read and row.kind is Kind.SAMPLE for _, row in p.stores)


def _point(p: Pass, plan: Plan, reduced: int) -> list[str]:
    slot = plan.rows.index
    names = _names([*(n for n, _ in p.stores), *p.body, *p.products, *p.loads, *(t.args[0] for t in p.totals)])
    lines = [f"const V {names[n]} = load(sum + {i} * lanes<T>){_biases(p, n, slot)};" for i, n in enumerate(p.products)]
    # A variable that nothing uses is an error (`-Wextra -Werror`); some loads are for `numbers` alone.
    used = {a for n in p.body for a in n.args} | {n for n, _ in p.stores}
    used |= {n for _, n in p.reductions} | {t.args[0] for t in p.totals}
    lines += [f"const V {names[n]} = {_load(slot(row), row.width)};" for n, row in p.loads.items() if n in used]
    lines += [f"const V {names[n]} = {_expression(n, names)};" for n in p.body]
    lines += [f"rows.{_STORE.get(row.tensor, 'store')}({slot(row)}, m, j, n, {names[n]});" for n, row in p.stores]
    lines += [
        f"sums.template gather<{_TOTALS[t.op]}>({i}, m, j, n, {names[t.args[0]]});" for i, t in enumerate(p.totals)
    ]
    lines += [f"sums.reduce({reduced + i}, m, j, n, {names[n]});" for i, (_, n) in enumerate(p.reductions)]
    arguments = "const R& rows, const Sums<T>& sums, int64_t m, int64_t j, Units n, const T* sum"
    return [
        "    template <class Units>",
        f"    static GATEFLOW_INLINE void point({arguments}) {{",
        # `-Werror` again: not every pass uses all its arguments.
        *(f"        {line}" for line in [*lines, "(void)rows, (void)sums, (void)m, (void)j, (void)n, (void)sum;"]),
        "    }",
    ]


def _biases(p: Pass, product: Node, slot: Callable[[Row], int]) -> str:
    return "".join(f" + rows.load({slot(row)}, m, j, n)" for node, row in p.biases() if node is product)


def _fetch(p: Pass, plan: Plan) -> list[str]:
    """What is prefetched while products are computed: rows of this step, and those that will be written."""
    rows = [*p.loads.values(), *(row for _, row in p.stores if row.tensor not in _STORE)]
    # Rows that serve all samples are near already; without products there is nothing to fetch them behind.
    distant = [row for row in dict.fromkeys(rows) if p.products and row.kind is not Kind.FIXED and row.width != "1"]
    lines = [f"        rows.fetch({plan.rows.index(row)}, m, j);" for row in distant]
    arguments = "const R& rows, int64_t m, int64_t j" if lines else "const R&, int64_t, int64_t"
    return [f"    static GATEFLOW_INLINE void fetch({arguments}) {{", *lines, "    }"]


def _names(nodes: Sequence[Node]) -> dict[Node, str]:
    """Names for C++. Those of a user have a number behind them, so that none is a word of C++ or of the frame."""
    names = names_of(in_order(nodes))
    # A state called `m`, as the frame's index of samples, once did not compile (`test_any_name_will_do`).
    own = {n: f"{names[n]}_{k}" for k, n in enumerate(names) if n.op in LEAVES}
    own |= {n: "indices<T>(j)" for n in names if n.op == "index"}
    own |= {n: "splat(std::numeric_limits<T>::epsilon())" for n in names if n.op == "epsilon"}
    return names | own | {n: _literal(n) for n in names if n.op == "constant"}


def _load(slot: int, width: str) -> str:
    return f"rows.number({slot}, m)" if width == "1" else f"rows.load({slot}, m, j, n)"


def _numbers(p: Pass, plan: Plan) -> list[str]:
    """What is computed once per row, when its sums are complete."""
    if not p.number_stores:
        return ["    static void numbers(const R&, const Sums<T>&, int64_t) {}"]
    names = _names([n for n, _ in p.number_stores])
    used = set(in_order(n for n, _ in p.number_stores))
    lines = [f"const V {names[n]} = sums.template total_of<{_TOTALS[n.op]}>({i}, m);" for i, n in enumerate(p.totals)]
    loads = {
        n: row
        for n, row in p.loads.items()
        if row.width == "1" and n in used and n in _needed(p) and n not in p.numbers
    }
    lines += [f"const V {names[n]} = rows.number({plan.rows.index(row)}, m);" for n, row in loads.items()]
    lines += [f"const V {names[n]} = {_expression(n, names)};" for n in p.numbers]
    lines += [f"rows.store_number({plan.rows.index(row)}, m, {names[n]});" for n, row in p.number_stores]
    body = [f"        {line}" for line in [*lines, "(void)sums;"]]
    return ["    static void numbers(const R& rows, const Sums<T>& sums, int64_t m) {", *body, "    }"]


def _needed(p: Pass) -> set[Node]:
    return {a for n in p.numbers for a in n.args} | {n for n, _ in p.number_stores}


_TOTALS = {"row_sum": "Sum", "row_max": "Largest", "row_min": "Smallest"}
"""What the frame calls them."""

# "keep" goes past the caches on AVX-512 alone, and only if `saved` is larger than them (`kernel.py`).
_STORE = {"saved": "keep"}
"""How a tensor is written: what training keeps may go past the caches, for it is read only when all steps are over."""


def _expression(node: Node, names: Mapping[Node, str]) -> str:
    args, operation = [names[a] for a in node.args], OPERATIONS[node.op]
    if callable(operation.cpp):
        return operation.cpp(node, *args)
    if operation.cpp:
        return operation.cpp.format(*args)
    return f"{args[0]} {operation.infix} {args[1]}" if operation.infix else f"{node.op}({', '.join(args)})"


def _literal(node: Node) -> str:
    value = node.values[0]
    # `repr` reads back as the same double, so a float kernel rounds the number once, as torch does.
    text = "NAN" if isnan(value) else f"{'-' * (value < 0)}INFINITY" if isinf(value) else repr(value)
    return f"splat(static_cast<T>({text}))"


def _bool(value: object) -> str:
    return "true" if value else "false"
