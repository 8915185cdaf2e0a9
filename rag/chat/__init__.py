"""Chat models behind the ChatModel Protocol: made by `choose`, asked over `openai`."""
