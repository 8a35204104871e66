"""Settings for training inside pytracking's LTR framework: beside `plugin`, the only folder to name it."""
