// The gallery's filters: cards that lack a chosen property are hidden.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".fa-filters");
  if (!form) return;
  const cards = [...form.parentElement.querySelectorAll(".fa-card")];
  const status = form.querySelector("[role=status]");

  function update() {
    const wanted = [...form.querySelectorAll("input:checked")].map((i) => i.value).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const tags = card.dataset.tags.split("|");
      card.hidden = !wanted.every((tag) => tags.includes(tag));
      shown += !card.hidden;
    }
    status.textContent = `${shown} of ${cards.length} functions`;
  }

  form.hidden = false;
  form.addEventListener("change", update);
  update();
});
