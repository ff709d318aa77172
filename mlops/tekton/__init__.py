"""Tekton's v1 documents: read, checked and understood, whoever carries them out.

Pure: text and values in, values and errors out. Tekton's documentation (tekton.dev/docs) and its
api-spec define the meaning.
"""
