"""The tests that `make check` chooses are those of what changed."""

from changed import chosen_by


def test_a_module_runs_the_test_file_of_its_name():
    assert chosen_by("src/iaat/data/notices.py") == ["tests/data/test_notices.py"]


def test_a_module_without_one_runs_the_tests_that_import_it():
    assert "tests/data/test_extra.py" in chosen_by("src/iaat/data/extra.py")
    assert "tests/data/test_duplicates.py" in chosen_by("src/iaat/data/sample_log.py")


def test_a_document_runs_the_tests_that_name_it():
    assert {"tests/docs/test_loop.py", "tests/docs/test_commands.py"} <= set(chosen_by("README.md"))


def test_a_test_runs_itself_and_other_files_run_nothing():
    assert chosen_by("tests/data/test_extra.py") == ["tests/data/test_extra.py"]
    assert chosen_by("tests/helpers/planted.py") == chosen_by("LICENSE") == []
