"""What is learned beside labels: a tagger's tags, what is no music, and what former networks think."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import Archive, read_archive
from headnod_train.training.archive_batches import WindowSource
from headnod_train.training.soft_labels import labelled, not_music, with_tags, with_teacher_scores
from headnod_train.training.teacher_networks import teacher_scores

NOT_MUSIC = 0.12
"""Windows of what is no music for each window of music."""


@dataclass(frozen=True)
class ExtraTargets:
    """Where more than labels comes from; nothing of it is needed."""

    tags: Path | None = None
    """A tagger's answers about the tracks, from `headnod-train tag`."""

    other: Path | None = None
    """An archive of what is no music: speech, machines, a household. With it the
    network gets an answer behind the labels."""

    teachers: tuple[Path, ...] = ()
    """Folders of former runs."""

    def sources(self, learning: Archive, labels: tuple[str, ...], front_end: FrontEnd) -> list[WindowSource]:
        """What to cut windows from, the music first.

        Raises:
            ArchiveError: The archive of what is no music cannot be used.
            TagsError: The tags cannot be used.
            RunError: A teacher cannot be used.
        """
        answers = labelled(learning, labels, front_end, other=self.other is not None)
        if self.tags is not None:
            answers = with_tags(answers, learning, self.tags)
        if self.teachers:
            answers = with_teacher_scores(
                answers, teacher_scores(self.teachers, learning, labels, answers.tagged.shape[1])
            )
        sources = [WindowSource(learning, answers)]
        if self.other is not None:
            noises = read_archive(self.other, front_end)
            sources.append(WindowSource(noises, not_music(noises, labels, front_end, answers.tags.shape[2]), NOT_MUSIC))
        return sources
