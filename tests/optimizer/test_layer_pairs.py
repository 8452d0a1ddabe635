import pytest

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture, LayerShape
from optimizer.distillation.layer_pairs import Places, pair_up, spread
from optimizer.surgery import LayerOrigin, SurgeryReport

TEACHER = Architecture(hidden_size=16, head_size=4, vocab_size=9, layers=(LayerShape(heads=4, ffn=12),) * 6)


def shape(*layers: tuple[int, int]) -> Architecture:
    return TEACHER.model_copy(update={"layers": tuple(LayerShape(heads=h, ffn=f) for h, f in layers)})


def cut(*origins: tuple[int, tuple[int, ...]]) -> SurgeryReport:
    """A student of these layers, each with these heads and the whole FFN."""
    layers = tuple(LayerOrigin(layer=layer, heads=heads, ffn=tuple(range(12))) for layer, heads in origins)
    return SurgeryReport(before=TEACHER, after=shape(*((len(o.heads), 12) for o in layers)), layers=layers)


WHOLE = shape((4, 12), (4, 12), (4, 12))
PRUNED = cut((0, (0, 2)), (3, ()), (4, (1, 2, 3)))


@pytest.mark.parametrize(
    ("few", "many", "taken"),
    [
        (3, 6, (1, 3, 5)),
        (4, 12, (2, 5, 8, 11)),
        (4, 6, (1, 2, 4, 5)),
        (1, 6, (5,)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (3, 2, (0, 1, 1)),
    ],
)
def test_layers_are_taken_at_even_distances_with_the_last(few: int, many: int, taken: tuple[int, ...]) -> None:
    assert spread(few, many) == taken


@pytest.mark.parametrize(
    ("rule", "mine", "theirs"),
    [
        ("uniform", (0, 1, 2), (1, 3, 5)),
        ("last", (0, 1, 2), (3, 4, 5)),
        ("top", (2,), (5,)),
        ("origins", (0, 1, 2), (0, 3, 4)),
        ("learned", (0, 1, 2), (1, 2, 4, 5)),
    ],
)
def test_each_rule_names_the_teachers_layers(rule: str, mine: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    here, there = pair_up(rule, PRUNED.after, TEACHER, PRUNED, by_head=False)
    assert (here.hidden, there.hidden) == (mine, theirs)


def test_a_pruned_students_heads_are_compared_with_those_they_were() -> None:
    here, there = pair_up("origins", PRUNED.after, TEACHER, PRUNED, by_head=True)
    assert here.attention == ((0, None), (2, None))  # layer 1 lost its attention
    assert there.attention == ((0, (0, 2)), (4, (1, 2, 3)))


def test_heads_without_counterpart_where_the_rule_points_are_compared_with_their_own_layer() -> None:
    _, there = pair_up("top", PRUNED.after, TEACHER, PRUNED, by_head=True)
    assert there.attention == ((4, (1, 2, 3)),)
    kept_last = cut((0, (0,)), (5, (1, 2)))
    assert pair_up("top", kept_last.after, TEACHER, kept_last, by_head=True)[1].attention == ((5, (1, 2)),)


def test_as_many_heads_are_compared_by_number_elsewhere() -> None:
    assert pair_up("top", WHOLE, TEACHER, None, by_head=True)[1].attention == ((5, None),)


def test_where_origins_are_unknown_layers_are_spread() -> None:
    assert pair_up("origins", WHOLE, TEACHER, None, by_head=True)[1].hidden == (1, 3, 5)


def test_the_last_layer_with_attention_is_the_top() -> None:
    student = shape((2, 12), (0, 12))
    here, there = pair_up("top", student, TEACHER, None, by_head=False)
    assert (here.attention, there.attention) == (((0, None),), ((5, None),))
    assert here.hidden == (1,)


def test_without_any_attention_there_is_nothing_to_compare() -> None:
    here, there = pair_up("top", shape((0, 12)), TEACHER, None, by_head=True)
    assert here == Places((0,))
    assert there == Places((5,))


def test_a_layer_is_only_learned_from_where_its_ffn_is_left() -> None:
    """Xia et al. 2022: m(i) is sought among the layers with z_FFN > 0."""
    assert pair_up("learned", shape((4, 0), (4, 6), (4, 0), (0, 3)), TEACHER, None, by_head=False)[0].hidden == (1, 3)
    assert pair_up("learned", shape((4, 0), (4, 0)), TEACHER, None, by_head=False)[0].hidden == (0, 1)


def test_heads_that_have_no_counterpart_are_refused() -> None:
    with pytest.raises(TrimfitError, match="got 2 heads in layer 0 of the student and 4 in layer 5 of the teacher"):
        pair_up("top", shape((2, 12)), TEACHER, None, by_head=True)


def test_a_surgery_of_another_model_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="did not start from this teacher"):
        pair_up("origins", PRUNED.after, WHOLE, PRUNED, by_head=False)
