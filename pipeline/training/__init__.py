"""What a training needs beside the network: batches, callbacks, checkpoints, facts about the environment."""
