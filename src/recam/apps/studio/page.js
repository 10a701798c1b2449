// A film dropped anywhere goes to the first upload button that is on the page: the open one.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const inputs = [...document.querySelectorAll("input[type=file]")];
  const input = inputs.find((i) => i.parentElement.offsetParent !== null) ?? inputs[0];
  if (!input || !event.dataTransfer.files.length) return;
  const files = [...event.dataTransfer.files];
  const next = () => {
    if (!files.length) return;
    const one = new DataTransfer();
    one.items.add(files.shift());
    input.files = one.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    setTimeout(next, 700);
  };
  next();
});
