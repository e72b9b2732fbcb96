"""The tiny teacher, a small Idefics3 trained from scratch on the sample world: `python -m sample.teacher`."""
