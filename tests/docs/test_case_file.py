"""The page of the case file says what the models say."""

import re

from meanformer.docs.case_file import LAWS, PAGE, TABLES, tables, written

TEXT = PAGE.read_text(encoding="utf-8")


def test_tables_are_what_the_models_say():
    # If this fails: scripts/env python docs/case_file.py
    assert written(TEXT) == TEXT


def test_what_is_out_of_date_is_written_anew():
    old = TEXT.replace("| `20000` |", "| `10` |").replace("`largest_outflow`", "`outflow`")
    assert old != TEXT and written(old) == TEXT


def test_every_table_has_a_place():
    assert re.findall("<!-- table: (.*) -->", TEXT) == list(tables())


def test_every_law_has_a_line():
    (section,) = re.findall("## Laws\\n(.*?)\\n## ", TEXT, re.DOTALL)
    assert sorted(re.findall(r'^\| `"(.*?)"` \| ', section, re.MULTILINE)) == sorted(LAWS)


def test_keys_are_told_with_what_they_are():
    told = {line.split("|")[1].strip(): line for line in tables()["keys"]}
    for table in TABLES.values():
        assert {f"`{key}`" for key in table.get("properties", ())} <= set(told)
    assert told["`half_width`"].startswith("| `half_width` | `5.0` | a number from $10^{-9}$ to ")
    assert told["`offset`"].startswith("| `offset` | `0.0` | a finite number | ")
    assert told["`beta`"].startswith("| `beta` | required | ")
    assert told["`boundary`"].startswith('| `boundary` | `"outflow"` | `"outflow"`, `"no-flux"` | ')
