"""Opens a spreadsheet as the importer will, with bounds to memory and time; run by path.

The reader fills the rectangle around a sheet's outermost cells, whatever the file says they are, and
ends its process when there is no memory for it. So a process of its own opens a file first.
"""

import resource
import sys

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

_MOST_MEMORY = 4 << 30
_MOST_SECONDS = 300


def main() -> None:
    """Open the sheets of ``argv[1]`` that the importer would open; to fail in words is left to it."""
    for limit, most in (
        (resource.RLIMIT_AS, _MOST_MEMORY),
        (resource.RLIMIT_CPU, _MOST_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hardest = resource.getrlimit(limit)
        soft = most if hardest == resource.RLIM_INFINITY else min(most, hardest)
        resource.setrlimit(limit, (soft, hardest))
    try:
        with CalamineWorkbook.from_path(sys.argv[1]) as workbook:
            for about in workbook.sheets_metadata:
                if about.typ == SheetTypeEnum.WorkSheet and about.visible == SheetVisibleEnum.Visible:
                    workbook.get_sheet_by_name(about.name)
    except CalamineError:
        return


if __name__ == "__main__":
    main()
