"""What a person looks at after a run: report.html of an OUT and the last screen of the terminal."""

from annotate.report.page import write_report
from annotate.report.pictures import stored_pictures
from annotate.report.terminal import final_screen, pick_examples

__all__ = ["final_screen", "pick_examples", "stored_pictures", "write_report"]
