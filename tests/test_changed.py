"""The tests that `make check` chooses are those of what changed."""

import pytest

from changed import DOCUMENTS, OF_FOLDERS, ROOT, chosen_by


def test_a_module_runs_the_test_file_of_its_name():
    assert chosen_by("src/iaat/data/notices.py") == ["tests/data/test_notices.py"]


def test_a_module_without_one_runs_the_tests_that_import_it():
    assert "tests/data/test_extra.py" in chosen_by("src/iaat/data/extra.py")
    assert "tests/data/test_duplicates.py" in chosen_by("src/iaat/data/sample_log.py")


def test_a_document_runs_the_tests_that_name_it_wherever_they_are():
    assert {"tests/docs/test_python_snippets.py", "tests/docs/test_commands.py"} <= set(chosen_by("README.md"))
    assert {"tests/train/test_trackers.py", "tests/docs/test_site.py"} <= set(chosen_by("docs/howto/tables.md"))


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("src/iaat/recipes/quickstart.yaml", "tests/config/test_recipe.py"),
        ("src/iaat/report/static/page.css", "tests/report/test_browser.py"),
        ("src/iaat/report/static/page.html.j2", "tests/report/test_page.py"),
        ("docs/results/frontier/comparison.json", "tests/evaluate/test_results.py"),
        ("docs/pictures/make.py", "tests/docs/test_pictures.py"),
        ("mkdocs.yml", "tests/docs/test_site.py"),
        ("Makefile", "tests/docs/test_paths.py"),
        ("pyproject.toml", "tests/docs/test_paths.py"),
    ],
)
def test_other_files_run_the_tests_of_their_folder_and_those_that_name_them(path, test):
    assert test in chosen_by(path)


def test_a_test_runs_itself_and_a_helper_runs_nothing():
    assert chosen_by("tests/data/test_extra.py") == ["tests/data/test_extra.py"]
    assert chosen_by("tests/helpers/planted.py") == []


def test_the_tests_of_folders_are_there():
    assert all((ROOT / folder).is_dir() for folder in OF_FOLDERS)
    assert all((ROOT / test).is_file() for tests in (DOCUMENTS, *OF_FOLDERS.values()) for test in tests)
