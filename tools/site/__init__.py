"""The web edition: lessons and pages as a site, their pictures alive without a kernel."""
