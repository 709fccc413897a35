"""`python -m benchmarks.against_handwritten`."""

from benchmarks.against_handwritten import subject
from benchmarks.command import main

if __name__ == "__main__":
    main(subject.SUBJECT, subject.__doc__)
