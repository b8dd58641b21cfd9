"""The leaderboard: what results folders and checked submissions say of codecs, as one static page.

=============  ========================================================================================================
`board`        the schema of what the page shows
`repository`   a results repository of the Hub, fetched at a commit
`entries`      folders and submissions, and how far each was checked
`compile`      the figures of each, from the report's own analysis
`exports`      CSV and JSON
`page`         one HTML file that asks for nothing else
`write`        all of these as files
=============  ========================================================================================================
"""
