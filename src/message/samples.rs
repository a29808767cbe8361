//! The garage's own texts with values, as tests measure and fit them.

/// A completed service.
pub(super) fn service(first_name: &str, car: &str) -> String {
    format!(
        "Bonjour {first_name}, votre service pour {car} est terminé. \
         Merci de nous contacter pour récupérer votre véhicule."
    )
}

/// An invoice.
pub(super) fn invoice(first_name: &str, number: &str, amount: &str, car: &str) -> String {
    format!(
        "Bonjour {first_name}, une nouvelle facture ({number}) de {amount} DT pour votre {car} a été émise. \
         Merci de votre confiance."
    )
}

/// An appointment that is near.
pub(super) fn reminder(first_name: &str, car: &str, date: &str) -> String {
    format!(
        "Bonjour {first_name}, rappel de votre rendez-vous pour votre {car} le {date} à 09:30. \
         En cas d'empêchement, merci de nous contacter."
    )
}
