"""The report of a pipeline: one self-contained HTML page, and the same figures as Markdown (`build.build_report`)."""
