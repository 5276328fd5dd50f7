"""Reports: figures by matplotlib and HTML pages by Jinja2, for evaluation, exploration and baselines."""
