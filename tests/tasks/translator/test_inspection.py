from tests.inspector.questions import every_view


def test_the_inspector_shows_a_run(trained):
    answers = every_view(trained.path)
    assert len(answers["memory"].values[0]) == len(answers["gates"].tokens)
