"""Train and run the frame classifier. Input: crops. Output: a trained model, and the scores of faces."""
