"""What each figure shows and how it is read; the same words for every study, and no numbers."""

from __future__ import annotations

from typing import NamedTuple


class Caption(NamedTuple):
    """Of a figure: its heading, what a reader who cannot see it must know, and how to read it."""

    title: str
    alternative: str
    reading: str


CAPTIONS = {
    "pareto": Caption(
        "Score against speed and cost",
        "Scatter plots of every row's score against its measured speed and against its multiply-accumulates.",
        "Each mark is a row of the table. Up is better; against speed, right is faster; against "
        "multiply-accumulates, left is cheaper. Bars are inter-quartile ranges, of the score over seeds and of the "
        "speed over rounds. On the dashed line, the Pareto front, lie the rows that no other row beats in both; how "
        "sure that is, it does not say. A hollow mark has a speed that is not to be trusted, ‡ in the table: against "
        "speed, the front leads through the filled marks only, and where there is none it is not drawn.",
    ),
    "ranks": Caption(
        "Ranks over seeds",
        "Critical-difference diagram: rows on an axis of their mean rank over seeds, bars over rows not told apart.",
        "In every seed the rows are ranked by their score, and the mean ranks stand on the axis: further left is "
        "better. A thick bar joins rows that Friedman's and Nemenyi's tests do not tell apart: tests of ranks among "
        "all rows, without a control, which can see what the table's pairwise test cannot. Where they disagree, the "
        "claim is the table's. Ranks say nothing of how large a difference is.",
    ),
    "classes": Caption(
        "Classes that gain and lose",
        "Heat maps of every row's intersection over union of each class, less that of the unpruned model and less "
        "that of random pruning.",
        "Each cell is the median over seeds of a difference in percentage points: red is worse than the reference, "
        "blue is better, bold has the same sign in every seed. A column that is darker than its neighbours is a "
        "class that removing patches hurts or helps more than others.",
    ),
    "curves-score": Caption(
        "Score while training",
        "Line charts, a panel for each row, of the validation score after each epoch.",
        "The line is the median over seeds, the shade reaches from the lowest to the highest seed, and the other "
        "rows are grey behind it. A line that still rises at its end may not be a method's last word; a wide shade "
        "is a method whose training depends on the seed.",
    ),
    "curves-loss": Caption(
        "Training loss",
        "Line charts, a panel for each row, of the mean training loss of each epoch.",
        "The line is the median over seeds, the shade reaches from the lowest to the highest seed. What a method "
        "adds to the task's loss is in it, so each panel has a scale of its own: compare shapes, not heights.",
    ),
    "tokens": Caption(
        "Tokens in each block",
        "Heat maps of the number of tokens that attention and MLP compute in each block, a line for each row.",
        "Counted per image in the deployed model, class token included. Rows of one schedule need not agree: some "
        "methods remove patches between attention and MLP, some before both, and fusion may bring them back at the "
        "end.",
    ),
    "agreement": Caption(
        "Do seeds keep the same patches?",
        "Line charts, a panel for each row, of how much the kept patches of two runs overlap after each block, "
        "beside what chance would give.",
        "The Jaccard index is the share of patches kept by both of all kept by either. Solid: the same image under "
        "two seeds. Dashed: the same seed on two images. Dotted: chance. Solid above dashed means that a method "
        "looks at the image; both high means that it prefers places, whatever the image; solid near dotted means "
        "that what it keeps depends on the seed. Where patches idle and may return, as in IdleViT, a block keeps "
        "those that it computes.",
    ),
    "agreement-rows": Caption(
        "Do methods keep the same patches?",
        "Triangular heat map of how much the patches that two rows keep to the end overlap, above chance.",
        "Zero is what chance gives, one the most that the counts allow, below zero the two avoid each other's "
        "patches. The diagonal compares seeds of one row, so it says how much agreement could be expected at all. "
        "Where patches idle and may return, as in IdleViT, those count as kept that the last block computes.",
    ),
    "agreement-layers": Caption(
        "Do layers keep the same patches?",
        "Triangular heat maps, a panel for each row, of how much the patches that one seed keeps after one block and "
        "another seed after another block overlap, above chance.",
        "Zero is what chance gives, one the most that the counts allow, below zero the two avoid each other's "
        "patches. Two seeds are compared, because within one run what is kept later was kept before. The diagonal is "
        "one block under two seeds. Below it, dark blue means that what one seed keeps late another has not removed "
        "early; pale means that one removes early what the other keeps late. Blocks that "
        "change nothing share a line. Where patches idle and return, as in IdleViT, a block keeps those that it "
        "computes, and a second panel compares the blocks of one run: pale there means that other patches take turns.",
    ),
    "maps": Caption(
        "What is kept, and what is said",
        "Maps of a few images, a line for each row: when each patch left, and what the model says.",
        "Bright patches stay to the end, dark ones leave first; beside them is what the model says of the image, "
        "for segmentation in the colours of the labels above. They come from the lowest seed and a few images, so "
        "they illustrate and prove nothing. Where patches idle and may return, as in IdleViT, it is shown when "
        "they left for good.",
    ),
    "speed": Caption(
        "Measured and published speed",
        "Chart of the measured speed-up of every row beside the published one.",
        "Speed-ups are over the unpruned model of the same backbone. A hollow circle is a measured one that is not to "
        "be trusted, ‡ in the table; why, and what was measured on, is said below the table. Diamonds are published, "
        "squares too, but were read in a text about the source.",
    ),
}
