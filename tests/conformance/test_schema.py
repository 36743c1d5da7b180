#!/usr/bin/env python3
"""cases.json is what its schema says, and the schema refuses what is none of it. Needs the package jsonschema."""

import copy
import json
import pathlib
import unittest

import jsonschema

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "src" / "testing" / "conformance"


def read(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


class SchemaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema, cls.cases = read("cases.schema.json"), read("cases.json")
        jsonschema.Draft202012Validator.check_schema(cls.schema)
        cls.validator = jsonschema.Draft202012Validator(cls.schema)

    def test_the_cases_are_what_the_schema_says(self):
        errors = [f"{list(error.absolute_path)}: {error.message[:300]}" for error in self.validator.iter_errors(self.cases)]
        self.assertEqual(errors, [])

    def test_every_need_is_explained(self):
        needs = self.schema["$defs"]["case"]["properties"]["needs"]["items"]["enum"]
        self.assertEqual(sorted(needs), sorted(self.cases["format"]["needs"]))

    def test_the_schema_refuses_what_is_no_case(self):
        head = {key: value for key, value in self.cases.items() if key != "cases"}
        case = self.cases["cases"][0]
        changes = {
            "an unknown key": lambda case: case.update(comment="x"),
            "a key that is missing": lambda case: case.pop("now"),
            "an unknown need": lambda case: case.update(needs=["luck"]),
            "an unknown kind": lambda case: case.update(kind="neither"),
            "no row": lambda case: case.update(rows=[]),
            "a tenth row": lambda case: case.update(rows=[10]),
            "a time without seconds": lambda case: case.update(now="2026-11-22T12:10Z"),
            "an interval without its unit": lambda case: case["policy"].update(interval="30"),
            "an own answer of the contract": lambda case: case["expected"].update(own=["4xx"]),
            "an answer of the transport without its statuses": lambda case: case.update(kind="either"),
            "no stored session": lambda case: case["expected"].pop("session"),
            "a null in a session": lambda case: case["session"].update(end_user=None),
            "an end that is not ended": lambda case: case["session"].update(ended_at="2026-11-22T12:00:00Z"),
            "zeros at the end of a stored time": lambda case: case["expected"]["session"].update(last_linked_at="2026-11-22T12:00:00.10Z"),
            "a character that is no byte": lambda case: case.update(body={"latin1": "\u0100"}),
            "a body that is repeated no time": lambda case: case.update(body={"before": "", "repeat": "x", "times": 0, "after": ""}),
            "a session that is stored and deleted meanwhile": lambda case: case.update(deleted_meanwhile=True, meanwhile=case["session"]),
            "a step of no time": lambda case: case.update(steps=[{"rows": [9], "expected": case["expected"]}]),
        }
        for words, change in changes.items():
            with self.subTest(words):
                changed = copy.deepcopy(case)
                change(changed)
                self.assertTrue(self.validator.is_valid({**head, "cases": [case]}))
                self.assertFalse(self.validator.is_valid({**head, "cases": [changed]}))


if __name__ == "__main__":
    unittest.main()
