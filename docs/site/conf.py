"""Sphinx's settings for the web edition; `python3 course.py site` calls it (tools/site/build.py).

Nothing is executed and nothing fetched: outputs are the stored ones, and scripts, fonts and pictures the site's own.
"""

from tools.notebooks.links import read_place

_place = read_place()

project = "Is it on the GPU?"
author = "the course's authors"
html_title = project
language = "en"

extensions = ["myst_nb"]
smartquotes = False  # words as the lessons write them
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # RequireJS and the widgets' manager would come from elsewhere; pictures.js is all that ours need
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a lesson's headings may skip a level

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("pictures.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_sourcelink_suffix = ""  # the download button gives a lesson under its own name
html_show_copyright = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is, until the reader chooses
html_theme_options = {
    "navbar_persistent": [],  # the search stands in the sidebar
    "footer_content_items": [],
    "repository_url": _place.github(),
    "repository_branch": _place.ref,
    "use_repository_button": True,
    "use_download_button": True,
    "home_page_in_toc": True,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
}
