"""The table of what tests reach adds files up by room."""

from tests.room_coverage import by_room, room_of, table


def test_a_file_belongs_to_the_folder_below_its_part() -> None:
    assert room_of("gateway/genlock_gateway/rtc/ingest/jitter.py") == "gateway/rtc"
    assert room_of("gateway/genlock_gateway/main.py") == "gateway"


def test_shares_are_those_of_a_room_as_a_whole() -> None:
    def summary(statements: int, covered: int, branches: int, jumped: int) -> dict[str, object]:
        counts = {"num_statements": statements, "covered_lines": covered}
        return {"summary": counts | {"num_branches": branches, "covered_branches": jumped}}

    report = {
        "files": {
            "worker/genlock_worker/rows/lanes.py": summary(10, 10, 4, 1),
            "worker/genlock_worker/rows/load.py": summary(30, 20, 4, 3),
            "worker/genlock_worker/main.py": summary(5, 0, 0, 0),
        }
    }
    assert table(by_room(report)).splitlines()[2:] == [
        "| worker | 5 | 0 % | 0 | - |",
        "| worker/rows | 40 | 75 % | 8 | 50 % |",
    ]
